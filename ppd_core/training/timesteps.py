"""The times at which the network is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from ppd_core.flow import T, timestep_grid
from ppd_core.training.config import TimestepConfig


def draw_timesteps(
    config: TimestepConfig,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw one time a sample.

    The logit-normal `T sigmoid(mean + std z)`, rounded as the published training does; or one of
    the sampler's own times; and for a share of the samples T itself.

    Args:
        count: B.
        generator: decides the device, too.

    Returns:
        (B,) float32 in [0, T].

    Source: arXiv 2403.03206 (logit-normal times); PPD, arXiv 2510.07316.
    """
    device = generator.device
    # Both draws are always made, so that the share changes no other sample's time.
    is_at_noise = torch.rand(count, generator=generator, device=device) < config.share_at_noise
    if config.grid_steps is None:
        normal = torch.randn(count, generator=generator, device=device)
        times = (T * torch.sigmoid(config.mean + config.std * normal)).round()
    else:
        grid = torch.tensor(timestep_grid(config.grid_steps), dtype=torch.float32, device=device)
        chosen = torch.randint(len(grid), (count,), generator=generator, device=device)
        times = grid[chosen]
    return torch.where(is_at_noise, times.new_tensor(float(T)), times)
