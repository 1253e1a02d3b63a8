from __future__ import annotations

import pytest
import torch

from ppd_core.alignment.protocols import align_least_squares, align_ransac_log


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
