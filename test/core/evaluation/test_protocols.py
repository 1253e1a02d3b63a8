from __future__ import annotations

import pytest
import torch

from ppd_core.evaluation.fits import align_least_squares, align_ransac_log
from ppd_core.evaluation.model import SPACES, Prediction
from ppd_core.evaluation.protocols import OWN_PROTOCOL, PROTOCOLS, ProtocolError


@pytest.fixture
def depth() -> torch.Tensor:
    return torch.rand(2, 1, 30, 40, generator=torch.Generator().manual_seed(0)) * 4 + 0.5


@pytest.fixture
def valid(depth) -> torch.Tensor:
    return torch.ones_like(depth, dtype=torch.bool)


def test_ransac_undoes_an_affine_map_in_log_space(depth, valid):
    aligned = align_ransac_log((depth.log1p() - 0.3) / 1.7, depth, valid)
    torch.testing.assert_close(aligned, depth, rtol=1e-3, atol=1e-3)


def test_ransac_is_not_misled_by_a_third_of_outliers(depth, valid):
    relative = depth.log1p()
    relative[..., :10, :] = 5.0  # a third of each image
    aligned = align_ransac_log(relative, depth, valid)
    torch.testing.assert_close(aligned[..., 10:, :], depth[..., 10:, :], rtol=1e-2, atol=1e-2)


def test_ransac_of_an_inverted_prediction_scales_it_to_the_mean(depth, valid):
    relative = 2 - depth.log1p()
    aligned = align_ransac_log(relative, depth, valid)
    for index in range(2):
        scale = depth[index].log1p().mean() / relative[index].mean()
        expected = torch.expm1(scale * relative[index]).clamp(1e-3, depth[index].max().item())
        torch.testing.assert_close(aligned[index], expected)


def test_ransac_gives_the_same_each_time(depth, valid):
    relative = torch.rand(depth.shape, generator=torch.Generator().manual_seed(1))
    first, second = (align_ransac_log(relative, depth, valid, trials=60) for _ in range(2))
    assert torch.equal(first, second)


def test_least_squares_on_depth_undoes_an_affine_map_of_depth(depth, valid):
    aligned = align_least_squares(0.2 * depth - 0.7, depth, valid)
    torch.testing.assert_close(aligned, depth, rtol=1e-4, atol=1e-4)


def test_least_squares_on_disparity_undoes_an_affine_map_of_disparity(depth, valid):
    aligned = align_least_squares(3 / depth + 0.4, depth, valid, space="disparity")
    torch.testing.assert_close(aligned, depth, rtol=1e-3, atol=1e-3)


def test_nothing_is_farther_than_the_truth_and_nothing_behind_the_camera(depth, valid):
    relative = depth.log1p()
    relative[..., 0, 0], relative[..., 0, 1] = 100.0, -100.0
    valid[..., 0, :2] = False
    for aligned in (
        align_ransac_log(relative, depth, valid),
        align_least_squares(relative, depth, valid),
        align_least_squares(-relative, depth, valid, space="disparity"),
    ):
        for index in range(2):
            assert aligned[index].max() <= depth[index][valid[index]].max()
        assert aligned.min() > 0


def test_the_mask_is_kept_and_the_space_must_be_known(depth, valid):
    with pytest.raises(ValueError, match="space must be depth or disparity, got 'log'"):
        align_least_squares(depth, depth, valid, space="log")
    with pytest.raises(ValueError):
        align_ransac_log(depth, depth, torch.zeros_like(valid))


def prediction(space: str, truth: torch.Tensor, *, slope: float = 0.4, shift: float = 0.2):
    """What a perfect model of that space would say of the truth, in its own scale and shift."""
    if space == "metric":
        return Prediction(truth, truth)
    maps = {"log": truth.log1p(), "depth": truth, "disparity": -1 / truth}
    return Prediction(slope * maps[space] + shift)


@pytest.mark.parametrize(("space", "name"), [*OWN_PROTOCOL.items()])
def test_a_perfect_model_of_any_space_is_truth_by_its_own_protocol(depth, valid, space, name):
    truth, mask = depth[0, 0], valid[0, 0]
    aligned = PROTOCOLS[name].align(prediction(space, truth), truth, mask, space=space)
    assert aligned.shape == truth.shape
    assert aligned.dtype == torch.float32
    torch.testing.assert_close(aligned, truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*PROTOCOLS])
def test_metres_are_taken_by_every_protocol(depth, valid, name):
    truth, mask = depth[0, 0], valid[0, 0]
    aligned = PROTOCOLS[name].align(prediction("metric", truth), truth, mask, space="metric")
    torch.testing.assert_close(aligned, truth, rtol=1e-4, atol=1e-4)
    # A model of another space that knows metres has them taken, too.
    other = Prediction(torch.rand(truth.shape), truth)
    space = "depth" if name == "ppd" else "log"
    aligned = PROTOCOLS[name].align(other, truth, mask, space=space)
    torch.testing.assert_close(aligned, truth, rtol=1e-4, atol=1e-4)


def test_a_relative_depth_of_another_space_is_refused(depth, valid):
    truth, mask = depth[0, 0], valid[0, 0]
    refused = {
        (name, space)
        for name in PROTOCOLS
        for space in SPACES
        if space != "metric" and is_refused(name, space, truth, mask)
    }
    taken = {("ppd", "log"), ("marigold", "depth"), ("disparity", "disparity")}
    assert refused == {(name, s) for name in PROTOCOLS for s in SPACES[:3]} - taken
    with pytest.raises(
        ProtocolError, match=r"ppd takes log or metric depth; .* relative depth of space disparity"
    ):
        PROTOCOLS["ppd"].align(prediction("disparity", truth), truth, mask, space="disparity")


def is_refused(name: str, space: str, truth: torch.Tensor, mask: torch.Tensor) -> bool:
    try:
        PROTOCOLS[name].align(prediction(space, truth), truth, mask, space=space)
    except ProtocolError:
        return True
    return False


def test_metres_stay_what_they_are_and_scale_takes_the_ratio_of_medians(depth, valid):
    truth, mask = depth[0, 0], valid[0, 0].clone()
    mask[:5] = False
    given = Prediction(3 * truth, 3 * truth)
    assert torch.equal(PROTOCOLS["metric"].align(given, truth, mask, space="metric"), 3 * truth)
    scaled = PROTOCOLS["scale"].align(given, truth, mask, space="metric")
    torch.testing.assert_close(scaled, truth, rtol=1e-5, atol=1e-5)
    # Half of the pixels and less may be anything.
    spoilt = given.metric_depth.clone()
    spoilt[:8] = 1e4
    assert PROTOCOLS["scale"].align(
        Prediction(spoilt, spoilt), truth, valid[0, 0], space="metric"
    )[20, 20] == pytest.approx(truth[20, 20].item(), rel=0.5)


def test_what_cannot_be_aligned_is_said(depth, valid):
    truth, mask = depth[0, 0], valid[0, 0].clone()
    given = prediction("log", truth)
    given.relative_depth[3, 4:6] = torch.nan
    with pytest.raises(ProtocolError, match="says nothing of 2 of the 1200 valid pixels"):
        PROTOCOLS["ppd"].align(given, truth, mask, space="log")
    mask[3] = False
    aligned = PROTOCOLS["ppd"].align(given, truth, mask, space="log")
    assert aligned.isnan().sum() == 2
    with pytest.raises(ProtocolError, match="no pixel of the truth is valid"):
        PROTOCOLS["ppd"].align(given, truth, torch.zeros_like(mask), space="log")
    with pytest.raises(ValueError, match="space must be one of log, depth, disparity, metric"):
        PROTOCOLS["ppd"].align(given, truth, mask, space="latent")
    with pytest.raises(ValueError, match=r"got \(30, 40\), \(30, 30\) and \(30, 40\)"):
        PROTOCOLS["ppd"].align(given, truth[:, :30], mask, space="log")
    with pytest.raises(ProtocolError, match="median of the predicted depth is 0, not > 0"):
        nothing = torch.zeros_like(truth)
        PROTOCOLS["scale"].align(Prediction(nothing, nothing), truth, mask, space="metric")


def test_truth_beyond_80_m_counts_where_the_mask_says_so(valid):
    truth = torch.linspace(1, 300, 1200).view(30, 40)
    for name, space in (("ppd", "log"), ("marigold", "depth"), ("disparity", "disparity")):
        aligned = PROTOCOLS[name].align(prediction(space, truth), truth, valid[0, 0], space=space)
        torch.testing.assert_close(aligned, truth, rtol=1e-3, atol=1e-3)


def test_a_large_image_is_fitted_in_pieces_alike(depth, valid, monkeypatch):
    relative = depth.log1p() + 0.05 * torch.randn(depth.shape, generator=torch.Generator())
    expected = align_ransac_log(relative, depth, valid)
    monkeypatch.setattr("ppd_core.evaluation.fits._RESIDUALS_AT_ONCE", 1200 * 7)
    torch.testing.assert_close(align_ransac_log(relative, depth, valid), expected)
