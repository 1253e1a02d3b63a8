from __future__ import annotations

import math

import pytest
import torch

from ppd_core.evaluation.metrics import (
    abs_rel,
    apply_affine_log,
    counted_mask,
    delta1,
    fit_affine_log,
    relative_depth_metrics,
    rmse,
)
from ppd_core.training.targets import depth_target


@pytest.fixture
def depth() -> torch.Tensor:
    return torch.rand(3, 1, 6, 8, generator=torch.Generator().manual_seed(0)) * 4 + 0.5


@pytest.fixture
def valid(depth) -> torch.Tensor:
    return torch.ones_like(depth, dtype=torch.bool)


def test_fit_finds_each_image_s_own_scale_and_shift(depth, valid):
    scale, shift = torch.tensor([2.0, 0.5, 1.5]), torch.tensor([0.1, 0.4, -0.2])
    relative = (depth.log1p() - shift.view(3, 1, 1, 1)) / scale.view(3, 1, 1, 1)
    found_scale, found_shift = fit_affine_log(relative, depth, valid)
    torch.testing.assert_close(found_scale, scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(found_shift, shift, atol=1e-4, rtol=0)


def test_fit_is_the_least_squares_solution(depth, valid):
    relative = torch.randn(depth.shape, generator=torch.Generator().manual_seed(1))
    scale, shift = fit_affine_log(relative, depth, valid)
    for index in range(3):
        d = relative[index].flatten().double()
        solution = torch.linalg.lstsq(
            torch.stack([d, torch.ones_like(d)], dim=1), depth[index].flatten().double().log1p()
        ).solution
        assert scale[index].item() == pytest.approx(solution[0].item(), abs=1e-5)
        assert shift[index].item() == pytest.approx(solution[1].item(), abs=1e-5)


def test_fit_does_not_read_what_is_outside_the_mask_or_beyond_80_m(depth, valid):
    relative = depth.log1p()
    expected = fit_affine_log(relative, depth, valid)
    spoilt, spoilt_relative, mask = depth.clone(), relative.clone(), valid.clone()
    spoilt[:, :, 0, :4] = torch.tensor([torch.nan, torch.inf, 100.0, -1.0])
    spoilt_relative[:, :, 0, :5] = torch.nan
    mask[:, :, 0, 4] = False
    found = fit_affine_log(spoilt_relative, spoilt, mask)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert counted_mask(spoilt, mask)[0, 0, 0].tolist() == [False] * 5 + [True] * 3


def test_fit_of_a_constant_is_the_mean_of_log_depth(depth, valid):
    scale, shift = fit_affine_log(torch.full_like(depth, 0.3), depth, valid)
    assert scale.tolist() == [0, 0, 0]
    torch.testing.assert_close(shift, depth.log1p().mean(dim=(1, 2, 3)))


def test_apply_inverts_log1p_and_holds_the_range():
    relative = torch.tensor([math.log1p(2.5), -9.0, 9.0, torch.nan]).view(1, 1, 1, 4)
    metric = apply_affine_log(relative, torch.ones(1), torch.zeros(1)).flatten()
    assert metric[:3].tolist() == pytest.approx([2.5, 1e-3, 80.0])
    assert metric[3].isnan()


def test_abs_rel_and_rmse_of_a_known_error():
    truth = torch.tensor([[[1.0, 2.0], [4.0, 8.0]]])
    predicted = torch.tensor([[[1.1, 2.0], [3.0, 8.0]]])
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    assert abs_rel(predicted, truth, valid).item() == pytest.approx((0.1 + 0.25) / 4)
    assert rmse(predicted, truth, valid).item() == pytest.approx(math.sqrt(1.01 / 4))


def test_delta1_counts_both_directions_and_what_is_no_depth_misses():
    truth = torch.ones(1, 1, 1, 6)
    predicted = torch.tensor([1.24, 1.26, 1 / 1.24, 1 / 1.26, -1.0, torch.nan]).view(1, 1, 1, 6)
    assert delta1(predicted, truth, torch.ones_like(truth)).item() == pytest.approx(2 / 6)


def test_errors_are_of_each_image_and_over_its_own_valid_pixels():
    truth = torch.ones(2, 1, 2, 2)
    predicted = torch.tensor([[1.5, 1.5, 1.5, 1.5], [1.1, 9.0, 9.0, 9.0]]).view(2, 1, 2, 2)
    valid = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool().view(2, 1, 2, 2)
    assert abs_rel(predicted, truth, valid).tolist() == pytest.approx([0.5, 0.1])
    assert delta1(predicted, truth, valid).tolist() == [0, 1]


def test_the_training_target_itself_has_next_to_no_error(depth, valid):
    near = counted_mask(depth, depth < depth.flatten(1).quantile(0.97, dim=1).view(3, 1, 1, 1))
    metrics = relative_depth_metrics(depth_target(depth, near), depth, near)
    assert metrics["absrel"].max() < 0.01
    assert metrics["delta1"].min() == 1
    assert metrics["rmse_m"].max() < 0.1


def test_a_nan_prediction_is_not_hidden(depth, valid):
    relative = depth.log1p()
    relative[1, 0, 2, 2] = torch.nan
    metrics = relative_depth_metrics(relative, depth, valid)
    assert metrics["absrel"].isnan().tolist() == [False, True, False]


def test_an_image_without_truth_is_refused(depth, valid):
    valid[1] = False
    with pytest.raises(ValueError, match="image 1 of the batch has no valid pixel under 80 m"):
        fit_affine_log(depth, depth, valid)


def test_shapes_that_differ_are_refused(depth, valid):
    with pytest.raises(ValueError, match=r"got \(3, 1, 6, 8\), \(3, 6, 8\) and \(3, 1, 6, 8\)"):
        abs_rel(depth, depth[:, 0], valid)
