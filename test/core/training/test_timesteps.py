from __future__ import annotations

import math

import pytest
import torch

from ppd_core.flow import T, timestep_grid
from ppd_core.training.config import TimestepConfig
from ppd_core.training.timesteps import draw_timesteps

COUNT = 20_000


def draw(**fields: object) -> torch.Tensor:
    config = TimestepConfig(**fields)  # type: ignore[arg-type]
    return draw_timesteps(config, COUNT, torch.Generator().manual_seed(0))


def test_quantiles_are_those_of_the_logit_normal() -> None:
    times = draw(mean=0.8, std=1.5)
    for share in (0.1, 0.5, 0.9):
        normal = 0.8 + 1.5 * math.sqrt(2) * torch.special.erfinv(torch.tensor(2 * share - 1))
        expected = float(T * torch.sigmoid(normal))
        assert float(times.quantile(share)) == pytest.approx(expected, abs=15)


def test_std_0_is_one_time() -> None:
    assert draw(mean=0.0, std=0.0).unique().tolist() == [T / 2]


def test_share_at_noise_is_exactly_t() -> None:
    assert (draw(share_at_noise=1.0) == T).all()
    assert float((draw(share_at_noise=0.3) == T).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_share_at_noise_leaves_the_other_times_alone() -> None:
    without, with_share = draw(), draw(share_at_noise=0.3)
    is_kept = with_share != T
    assert torch.equal(without[is_kept], with_share[is_kept])


def test_grid_is_the_samplers() -> None:
    assert draw(grid_steps=4).unique().tolist() == sorted(timestep_grid(4))
