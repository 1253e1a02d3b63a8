from __future__ import annotations

import math

import pytest
import torch

from ppd_core.models.efficientnet_prompt import Mixture
from ppd_core.training.losses import gradient_loss, mixture_loss, velocity_loss


def test_gradient_loss_matches_the_recording(golden, assert_parity):
    recorded = golden("target")
    mask = recorded["mask"].bool()
    loss = gradient_loss(recorded["prediction"], recorded["latent"], mask)
    assert_parity(loss.view(1), recorded["grad_loss"])


def test_gradient_loss_of_one_step_is_its_height_at_each_scale():
    error = torch.zeros(1, 1, 8, 8)
    error[..., 4:] = 0.5
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    # One step of 0.5 in each of 8, 4, 2 rows of 64, 16, 4 pixels; one pixel has no neighbour.
    expected = 0.5 * (8 / 64 + 4 / 16 + 2 / 4)
    assert gradient_loss(error, torch.zeros_like(error), valid).item() == pytest.approx(expected)


def test_gradient_loss_does_not_see_an_offset():
    field = torch.randn(2, 1, 16, 16)
    valid = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    assert gradient_loss(field + 3, field, valid).item() == pytest.approx(0, abs=1e-5)


def test_losses_do_not_look_outside_the_mask():
    predicted, target = torch.randn(1, 1, 16, 16), torch.randn(1, 1, 16, 16)
    valid = torch.rand(1, 1, 16, 16) > 0.3
    valid[..., 0, 0] = True
    for loss in (velocity_loss, gradient_loss):
        elsewhere = torch.where(valid, predicted, 99.0)
        torch.testing.assert_close(loss(elsewhere, target, valid), loss(predicted, target, valid))


def test_velocity_loss_is_the_mean_square_over_valid_pixels():
    predicted = torch.tensor([1.0, 3.0, 50.0]).view(1, 1, 1, 3)
    valid = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    loss = velocity_loss(predicted, torch.zeros_like(predicted), valid)
    assert loss.item() == pytest.approx(5)


def test_mixture_loss_is_the_surprise_at_a_density_by_hand():
    weight, location, scale = (
        torch.tensor(v).view(1, 2, 1, 1) for v in ([0.25, 0.75], [-0.5, 0.3], [0.1, 0.2])
    )
    mixture = Mixture(weight.log().expand(1, 2, 1, 2), location.expand(1, 2, 1, 2), scale)
    target = torch.tensor([0.1, math.nan]).view(1, 1, 1, 2)
    density = 0.25 / 0.2 * math.exp(-0.6 / 0.1) + 0.75 / 0.4 * math.exp(-0.2 / 0.2)
    loss = mixture_loss(mixture, target, target.isfinite())
    assert loss.item() == pytest.approx(-math.log(density), rel=1e-4)
