"""What sampling starts from: noise, and the depth of the frame before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def starting_noise(
    size: tuple[int, int],
    noise: Tensor | None,
    generator: torch.Generator | None,
    seed: int,
    device: torch.device,
) -> Tensor:
    """The noise of one image.

    Args:
        size: (h, w) of the model.
        noise: (1, 1, h, w), is taken if it is given.
        generator: else draws it, on its own device.
        seed: else of the noise that is the same each time.
        device: where that one is to be.

    Returns:
        (1, 1, h, w).

    Raises:
        ValueError: `noise` has another shape, or is not finite.
    """
    shape = (1, 1, *size)
    if noise is not None:
        _check_noise(noise, shape)
        return noise
    if generator is not None:
        return torch.randn(shape, generator=generator, device=generator.device)
    return _fixed_noise(shape, seed, device)


def samples_before(
    previous: Sequence[Tensor], size: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The samples of the frames before, as the network has them.

    Args:
        previous: B of (h, w) relative depth.
        size: (h, w) of the model.

    Returns:
        (B, 1, h, w).

    Raises:
        ValueError: one is no tensor, or of another size.
    """
    for depth in previous:
        _check_previous(depth, size)
    return torch.stack([one.to(device, dtype) for one in previous])[:, None] - 0.5


def check_noise_source(noise: Tensor | None, generator: torch.Generator | None) -> None:
    """Accept one of the two, or neither.

    Raises:
        ValueError: both are given, or the noise is no tensor.
    """
    if noise is not None and generator is not None:
        raise ValueError("give noise or a generator that draws it, got both")
    if noise is not None and not isinstance(noise, Tensor):
        raise ValueError(f"noise must be a torch tensor, got {type(noise).__name__}")


@lru_cache(maxsize=8)
def _fixed_noise(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Drawn on the CPU, so that it is the same on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.inference_mode(False):  # Others, who may want gradients, get this very tensor.
        return torch.randn(shape, generator=generator, device="cpu").to(device)


def _check_noise(noise: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(noise.shape) != shape:
        raise ValueError(f"noise must be {shape}, got {tuple(noise.shape)}")
    if not torch.isfinite(noise).all():
        raise ValueError("noise must be finite, got NaN or infinite values")


def _check_previous(previous: Tensor, size: tuple[int, int]) -> None:
    if not isinstance(previous, Tensor):
        raise ValueError(f"previous must be a torch tensor, got {type(previous).__name__}")
    if tuple(previous.shape) != size:
        raise ValueError(
            f"previous must be {size}, the frame's own model size, got {tuple(previous.shape)}"
        )
