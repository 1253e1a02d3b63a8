from __future__ import annotations

import pytest
import torch

from ppd_core.training.targets import depth_target


def test_target_matches_the_recording(golden, assert_parity):
    recorded = golden("target")
    assert_parity(depth_target(recorded["depth"], recorded["mask"].bool()), recorded["latent"])


def test_target_puts_the_quantiles_at_minus_a_half_and_a_half():
    log_depth = torch.linspace(0.5, 3.0, 101).view(1, 1, 1, 101)
    target = depth_target(log_depth.expm1(), torch.ones(1, 1, 1, 101, dtype=torch.bool))
    assert target[..., 2].item() == pytest.approx(-0.5, abs=1e-5)
    assert target[..., 98].item() == pytest.approx(0.5, abs=1e-5)


def test_target_does_not_know_the_unit_of_log_depth():
    depth, valid = torch.rand(2, 1, 8, 8) * 20 + 1, torch.ones(2, 1, 8, 8, dtype=torch.bool)
    stretched = (2 * depth.log1p() + 0.3).expm1().clamp(max=1e6)
    near = depth < 4  # so that both stay under 80 m
    torch.testing.assert_close(
        depth_target(depth, near)[near], depth_target(stretched, near)[near], atol=1e-5, rtol=0
    )
    assert valid.all()


def test_target_stays_in_its_range_whatever_lies_outside_the_mask():
    depth = torch.rand(1, 1, 8, 8) * 5 + 1
    depth[0, 0, 0, :4] = torch.tensor([torch.nan, torch.inf, 1e4, 0.0])
    valid = torch.ones_like(depth, dtype=torch.bool)
    valid[0, 0, 0, :4] = False
    target = depth_target(depth, valid)
    assert target.ge(-1).all()
    assert target.le(0.5).all()


def test_target_of_a_flat_wall_is_finite():
    target = depth_target(torch.full((1, 1, 4, 4), 2.0), torch.ones(1, 1, 4, 4))
    assert target.isfinite().all()


def test_target_refuses_an_image_with_nothing_to_normalise_by():
    depth, valid = torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    depth[1] = 100
    with pytest.raises(ValueError, match="image 1 of the batch has no valid pixel under 80 m"):
        depth_target(depth, valid)


def test_target_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match=r"got \(1, 1, 4, 4\) and \(1, 4, 4\)"):
        depth_target(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4))
