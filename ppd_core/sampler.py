"""From noise to relative depth with any velocity function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from ppd_core.flow import euler_step

VelocityFunction = Callable[[Tensor, int], Tensor]
"""(x_t, t) -> the velocity at x_t, of the same shape."""


def sample(velocity: VelocityFunction, noise: Tensor, timesteps: Sequence[int]) -> Tensor:
    """Integrate the flow by Euler steps.

    Args:
        velocity: the network, asked once a timestep.
        noise: (B, 1, h, w) x_T.
        timesteps: falling times, the first that of the noise; see `flow.timestep_grid`.

    Returns:
        (B, 1, h, w) x_0.
    """
    x_t = noise
    for t, s in pairwise([*timesteps, 0]):
        x_t = euler_step(x_t, velocity(x_t, t), t, s)
    return x_t
