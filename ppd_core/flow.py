"""Flow matching along straight paths, as pure functions.

Time runs from t = T (pure noise x_T) down to t = 0 (the sample x_0):
`x_t = (1 - t/T) x_0 + (t/T) x_T`, so the velocity `dx/d(t/T) = x_T - x_0` is constant on a path.

Source: Pixel-Perfect Depth, arXiv 2510.07316; rectified flow, arXiv 2209.03003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

T = 1000
"""The time of pure noise."""


def _broadcast(t: float | Tensor, x: Tensor) -> float | Tensor:
    """A time per sample, (B,), made to multiply (B, ...)."""
    return t.view(-1, *[1] * (x.ndim - 1)) if isinstance(t, Tensor) and t.ndim == 1 else t


def interpolate(x_0: Tensor, noise: Tensor, t: float | Tensor) -> Tensor:
    """The point of the path at time t.

    Args:
        x_0, noise: (B, ...) the two ends of the path.
        t: one time, or (B,) times, in [0, T].

    Returns:
        (B, ...) x_t.
    """
    share = _broadcast(t, x_0) / T
    return (1 - share) * x_0 + share * noise


def velocity_target(x_0: Tensor, noise: Tensor) -> Tensor:
    """What the network learns to predict, `x_T - x_0`; (B, ...)."""
    return noise - x_0


def predict_x_0(x_t: Tensor, velocity: Tensor, t: float | Tensor) -> Tensor:
    """The end of the straight path through x_t at time t; (B, ...)."""
    return euler_step(x_t, velocity, t, 0)


def velocity_from_x_0(x_t: Tensor, x_0: Tensor, t: float | Tensor) -> Tensor:
    """The velocity of the straight path from x_t to x_0; the inverse of `predict_x_0`.

    Args:
        x_t, x_0: (B, ...).
        t: one time, or (B,) times, in [0, T]; below 1 it counts as 1, since at 0 any velocity
            leads to x_0.

    Returns:
        (B, ...).
    """
    t = t.clamp(min=1) if isinstance(t, Tensor) else max(t, 1)
    return (x_t - x_0) * T / _broadcast(t, x_t)


def euler_step(x_t: Tensor, velocity: Tensor, t: float | Tensor, s: float | Tensor) -> Tensor:
    """Follow the velocity from time t to time s.

    Args:
        x_t, velocity: (B, ...).
        t, s: one time each, or (B,) times, in [0, T]; s < t goes towards the sample.

    Returns:
        (B, ...) x_s.
    """
    return x_t + _broadcast((s - t) / T, x_t) * velocity


def timestep_grid(num_steps: int) -> list[int]:
    """The times at which the network is asked, noise first; after the last, step to 0.

    `round(arange(T, -1, -(T + 1) / n))`, as the published model is sampled; it is not `linspace`.
    Example: 4 steps are 1000, 750, 500, 249.

    Raises:
        ValueError: `num_steps` not in [1, T].
    """
    if not 1 <= num_steps <= T:
        raise ValueError(f"num_steps must be in [1, {T}], got {num_steps}")
    # In float32, as published: where the exact value is a tie (20 steps, 499.5) rounding decides.
    # Cut to num_steps: for some counts (29, 49, ...) the same rounding lets one too many in.
    step = -(T + 1) / num_steps
    times = torch.arange(T, -1, step, dtype=torch.float32, device="cpu")
    return times.round().int().tolist()[:num_steps]


def warm_timesteps(timesteps: Sequence[int]) -> list[int]:
    """The second half of a grid, for a start from what is nearly the sample, noised to its first.

    Example: of 1000, 750, 500, 249 the last two. Of one time nothing can be left out.
    """
    return list(timesteps[len(timesteps) // 2 :])
