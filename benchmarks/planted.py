"""Samples whose scale and shift are known, with noise and clusters of gross outliers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.fit import fit_affine

SAMPLES = 65_536
OUTLIER_SHARE = 0.4
NOISE = 0.01
"""Standard deviation of a sample, as a share of its depth."""

Wrong = tuple[Tensor, Tensor]
Pattern = Callable[[Tensor, Tensor, torch.Generator], Wrong]
"""Relative depth and metres -> which samples are outliers, and metres with them."""


def planted(
    seed: int, pattern: str, samples: int = SAMPLES
) -> tuple[Tensor, Tensor, float, float]:
    """Draw a scene.

    Returns:
        (N,) relative depth, (N,) metric samples, and the scale and shift that are to be found.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 + 2.5 * torch.rand(1, generator=generator).item()
    shift = 0.1 + 0.7 * torch.rand(1, generator=generator).item()
    relative = torch.rand(samples, generator=generator)
    metres = torch.expm1(scale * relative + shift)
    metres = metres * (1 + NOISE * torch.randn(samples, generator=generator))
    is_outlier, wrong = PATTERNS[pattern](relative, metres, generator)
    return relative, torch.where(is_outlier, wrong, metres), scale, shift


def _anywhere(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    return _any(relative, generator), 0.1 + 20 * torch.rand(len(metres), generator=generator)


def _moving_hand(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    # What is near has come to half its distance since the image was taken.
    return relative < OUTLIER_SHARE, 0.5 * metres


def _glass_pane(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    # The sensor sees the pane, the model what is behind it.
    return _any(relative, generator), 0.6 * metres.min().expand_as(metres)


def _multipath(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    # The light of the far part came by a detour.
    return relative > 1 - OUTLIER_SHARE, 1.3 * metres


def _moved_sensor(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    # A second, parallel line: some of a sweep was taken from half as far again.
    return _any(relative, generator), 1.5 * metres


def _hole_filled(relative: Tensor, metres: Tensor, generator: torch.Generator) -> Wrong:
    # A driver fills holes of the middle with the background.
    is_middle = (relative - 0.5).abs() < OUTLIER_SHARE / 2
    return is_middle, metres.max().expand_as(metres)


def _any(relative: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(relative), generator=generator) < OUTLIER_SHARE


PATTERNS: dict[str, Pattern] = {
    "anywhere": _anywhere,
    "moving hand": _moving_hand,
    "glass pane": _glass_pane,
    "multipath": _multipath,
    "moved sensor": _moved_sensor,
    "filled holes": _hole_filled,
}
"""One without clusters, and five with."""


def planted_errors(seeds: int, config: AlignmentConfig) -> dict[str, float]:
    """The largest errors of slope and shift over so many scenes, the patterns taking turns."""
    slope, shift = [0.0], [0.0]
    names = list(PATTERNS)
    for seed in tqdm(range(seeds), desc="planted", unit="fit"):
        relative, metres, true_scale, true_shift = planted(seed, names[seed % len(names)])
        fit = fit_affine(relative, metres, torch.ones_like(metres), config)
        slope.append(abs(fit.scale.item() - true_scale))
        shift.append(abs(fit.shift.item() - true_shift))
    return {"planted_slope_error_max": max(slope), "planted_shift_error_max": max(shift)}
