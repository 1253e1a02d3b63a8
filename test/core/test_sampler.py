from __future__ import annotations

import pytest
import torch

from ppd_core.flow import interpolate, timestep_grid, warm_timesteps
from ppd_core.sampler import sample


@pytest.mark.parametrize("num_steps", [1, 3, 7])
def test_sample_is_exact_on_a_straight_path(num_steps):
    x_0, noise = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 8, 8)
    found = sample(lambda x_t, t: noise - x_0, noise, timestep_grid(num_steps))
    torch.testing.assert_close(found, x_0, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 20])
def test_a_warm_start_is_exact_on_a_straight_path(num_steps):
    x_0, noise = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 8, 8)
    times = warm_timesteps(timestep_grid(num_steps))
    found = sample(lambda x_t, t: noise - x_0, interpolate(x_0, noise, times[0]), times)
    torch.testing.assert_close(found, x_0, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_steps", [1, 2, 4, 10])
def test_sample_matches_the_recording(golden, assert_parity, num_steps):
    recorded = golden("euler")
    found = sample(
        lambda x_t, t: torch.tanh(0.7 * x_t) + 0.1 * t / 1000,
        recorded["noise"],
        timestep_grid(num_steps),
    )
    assert_parity(found, recorded[f"x0_{num_steps}"])


def test_sample_asks_the_network_once_a_timestep_from_noise_down():
    asked = []

    def velocity(x_t, t):
        asked.append(t)
        return torch.zeros_like(x_t)

    sample(velocity, torch.zeros(1, 1, 2, 2), timestep_grid(4))
    assert asked == [1000, 750, 500, 249]
