from __future__ import annotations

import math

import pytest
import torch

from ppd_core.evaluation.metric_depth import flying_mask, flying_share, metric_errors


def two_walls(near_m=1.0, far_m=2.0):
    """(24, 32): the left half near, the right half far."""
    return torch.where(torch.arange(32) < 16, near_m, far_m).expand(24, 32).clone()


def test_errors_are_those_of_the_metres_as_they_are():
    truth = two_walls()
    errors = metric_errors(truth * 1.5, truth)
    assert errors.abs_rel == pytest.approx(0.5)
    assert errors.rmse_m == pytest.approx(math.sqrt((0.5**2 + 1.0**2) / 2))
    assert errors.delta1 == 0
    assert errors.valid_share == 1


def test_holes_lower_the_valid_share_alone():
    truth = two_walls()
    truth[0] = torch.inf
    depth = two_walls()
    depth[:, :8] = torch.nan
    errors = metric_errors(depth, truth)
    assert errors.abs_rel == errors.rmse_m == 0
    assert errors.delta1 == 1
    assert errors.valid_share == pytest.approx(24 / 32)


def test_depth_that_is_all_hole_has_no_error_and_no_share():
    truth = two_walls()
    errors = metric_errors(torch.full_like(truth, torch.nan), truth)
    assert math.isnan(errors.abs_rel) and math.isnan(errors.rmse_m) and math.isnan(errors.delta1)
    assert errors.valid_share == 0


def test_smeared_border_flies_and_a_hole_there_does_not():
    truth = two_walls()
    assert flying_share(truth, truth) == 0
    smeared = truth.clone()
    smeared[:, 15:17] = 1.5
    # Two of the four pixels near the edge lie between the walls.
    assert flying_share(smeared, truth) == pytest.approx(0.5)
    assert torch.equal(flying_mask(smeared, truth), smeared == 1.5)
    smeared[:, 15] = torch.nan
    assert flying_share(smeared, truth) == pytest.approx(1 / 3)


def test_flying_share_needs_an_edge_with_depth():
    truth = two_walls()
    assert math.isnan(flying_share(torch.full_like(truth, torch.nan), truth))
    assert math.isnan(flying_share(truth, torch.ones_like(truth)))


def test_what_cannot_be_compared_is_refused():
    truth = two_walls()
    with pytest.raises(ValueError, match=r"alike, got \(24, 32\) and \(3, 4\)"):
        metric_errors(truth, torch.ones(3, 4))
    with pytest.raises(ValueError, match="no pixel of the truth is known"):
        metric_errors(truth, torch.full_like(truth, torch.inf))
