from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from ppd_core.flow import (
    T,
    euler_step,
    interpolate,
    predict_x_0,
    timestep_grid,
    velocity_from_x_0,
    velocity_target,
    warm_timesteps,
)


def test_interpolate_starts_at_the_sample_and_ends_at_the_noise():
    x_0, noise = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(interpolate(x_0, noise, 0), x_0)
    torch.testing.assert_close(interpolate(x_0, noise, T), noise)


def test_interpolate_takes_a_time_per_sample():
    x_0, noise = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    x_t = interpolate(x_0, noise, torch.tensor([250, 1000]))
    assert x_t[:, 0, 0, 0].tolist() == [0.25, 1.0]


def test_one_step_along_the_true_velocity_finds_the_sample_from_any_time():
    x_0, noise = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    t = torch.tensor([1000, 500, 3])
    x_t = interpolate(x_0, noise, t)
    torch.testing.assert_close(
        predict_x_0(x_t, velocity_target(x_0, noise), t), x_0, atol=1e-6, rtol=0
    )


def test_the_velocity_towards_a_sample_leads_there_from_any_time():
    x_0, x_t = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    t = torch.tensor([1000, 500, 1])
    velocity = velocity_from_x_0(x_t, x_0, t)
    torch.testing.assert_close(predict_x_0(x_t, velocity, t), x_0, atol=1e-6, rtol=0)


def test_at_time_0_the_velocity_towards_a_sample_is_finite():
    x_t = torch.ones(1, 1, 2, 2)
    assert torch.isfinite(velocity_from_x_0(x_t, torch.zeros(1, 1, 2, 2), 0)).all()


def test_euler_step_forth_and_back_is_the_identity():
    x, velocity = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    back = euler_step(euler_step(x, velocity, 800, 300), velocity, 300, 800)
    torch.testing.assert_close(back, x)


def test_timestep_grid_matches_the_recording(golden):
    for name, recorded in golden("timesteps").items():
        assert timestep_grid(int(name.rsplit("_", 1)[1])) == recorded.tolist(), name


@pytest.mark.parametrize("num_steps", [1, 4, 29, 49, 1000])
def test_timestep_grid_has_as_many_falling_times_as_asked(num_steps):
    grid = timestep_grid(num_steps)
    assert len(grid) == num_steps
    assert grid[0] == T
    assert all(a > b >= 0 for a, b in pairwise(grid))


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_timestep_grid_refuses_a_count_out_of_range(num_steps):
    with pytest.raises(ValueError, match=rf"num_steps must be in \[1, 1000\], got {num_steps}"):
        timestep_grid(num_steps)


@pytest.mark.parametrize(
    ("num_steps", "expected"), [(4, [500, 249]), (3, [666, 333]), (2, [500]), (1, [1000])]
)
def test_warm_timesteps_are_the_second_half(num_steps, expected):
    assert warm_timesteps(timestep_grid(num_steps)) == expected


def test_a_warm_start_costs_half_the_steps_of_any_grid():
    for num_steps in range(2, 60):
        grid = timestep_grid(num_steps)
        warm = warm_timesteps(grid)
        assert len(warm) == (num_steps + 1) // 2
        assert warm == grid[-len(warm) :]
