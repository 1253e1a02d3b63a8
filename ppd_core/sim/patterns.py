"""Procedural pictures for the surfaces of simulated scenes."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

Rgb = np.ndarray
"""(3,) float64 in [0, 1]."""


def draw_color(rng: np.random.Generator, *, vivid_share: float = 0.4) -> Rgb:
    """A colour of things people make: greys, wood and paint tones, and some vivid ones.

    Args:
        rng: source of chance.
        vivid_share: how often the colour is saturated.

    Returns:
        (3,) float64 RGB in [0, 1].
    """
    if rng.random() < vivid_share:
        hue, saturation, value = rng.random(), rng.uniform(0.45, 1.0), rng.uniform(0.3, 1.0)
    elif rng.random() < 0.4:
        hue, saturation, value = (
            rng.uniform(0.05, 0.12),
            rng.uniform(0.2, 0.7),
            rng.uniform(0.3, 0.9),
        )
    else:
        hue, saturation, value = rng.random(), rng.uniform(0.0, 0.2), rng.uniform(0.15, 1.0)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def draw_pattern(rng: np.random.Generator, size: int, *, vivid_share: float = 0.4) -> np.ndarray:
    """A random picture that tiles without a seam (but for labels, which have a border).

    Args:
        rng: source of chance.
        size: side length in pixels.
        vivid_share: how often each of its two colours is saturated.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    paint = PATTERNS[int(rng.integers(len(PATTERNS)))]
    mask, detail = paint(rng, size)
    first, second = (draw_color(rng, vivid_share=vivid_share) for _ in range(2))
    if rng.random() < 0.5:
        # Most real surfaces are one colour in two shades; two colours everywhere look like toys.
        second = np.clip(first * rng.uniform(0.45, 0.85), 0, 1)
    picture = first + (second - first) * mask[..., None]
    return np.asarray(np.clip(picture * detail[..., None], 0, 1) * 255, np.uint8)


def tiled_noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> np.ndarray:
    """Smooth periodic noise: a random grid, interpolated.

    Args:
        rng: source of chance.
        size: side length in pixels.
        cells: grid cells down and across; few cells make large blotches.

    Returns:
        (size, size) float64 in [0, 1].
    """
    grid = rng.random(cells)
    for axis, count in enumerate(cells):
        position = np.arange(size) * count / size
        low = position.astype(int)
        weight = position - low
        weight = (weight * weight * (3 - 2 * weight)).reshape((-1, 1) if axis == 0 else (1, -1))
        near = np.take(grid, low, axis=axis)
        grid = near + (np.take(grid, (low + 1) % count, axis=axis) - near) * weight
    return grid


def _grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """Brightness of each pixel around 1, from a fine grain and large stains."""
    fine = rng.uniform(0.0, 0.12) * (rng.random((size, size)) - 0.5)
    stains = rng.uniform(0.0, 0.4) * (tiled_noise(rng, size, (5, 5)) - 0.5)
    return 1.0 + fine + stains


Layers = tuple[np.ndarray, np.ndarray]
"""Where the second colour goes, (size, size) in [0, 1], and the brightness, (size, size)."""


def _plain(rng: np.random.Generator, size: int) -> Layers:
    return np.zeros((size, size)), _grain(rng, size)


def _blotches(rng: np.random.Generator, size: int) -> Layers:
    mask = sum(
        weight * tiled_noise(rng, size, (cells, cells))
        for weight, cells in ((0.5, 4), (0.3, 9), (0.2, 21))
    )
    return np.clip((mask - 0.5) * rng.uniform(1.5, 8) + 0.5, 0, 1), _grain(rng, size)


def _stripes(rng: np.random.Generator, size: int) -> Layers:
    across, down = rng.integers(0, 6, 2)
    across = max(across, 1 - down)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    wave = np.sin(2 * np.pi * (across * x + down * y) / size + rng.uniform(0, 6))
    sharpness = rng.choice([0.5, 4.0, 20.0])
    edge = rng.uniform(-0.6, 0.6)
    return np.clip((wave - edge) * sharpness + 0.5, 0, 1), _grain(rng, size)


def _checks(rng: np.random.Generator, size: int) -> Layers:
    count = 2 * int(rng.integers(1, 6))
    index = np.arange(size) * count // size
    return ((index[:, None] + index) % 2).astype(float), _grain(rng, size)


def _tiles(rng: np.random.Generator, size: int) -> Layers:
    rows, columns = (int(n) for n in rng.choice([2, 4, 6, 8], 2))
    joint = rng.uniform(0.02, 0.08)
    row = np.arange(size) * rows / size
    shift = 0.5 * (row.astype(int) % 2)[:, None] if rng.random() < 0.5 else 0.0
    column = (np.arange(size) * columns / size)[None] + shift
    mask = ((row % 1.0)[:, None] < joint * rows / 2) | (column % 1.0 < joint * columns / 2)
    shade = rng.random((rows, columns)) * rng.uniform(0, 0.3)
    each = shade[row.astype(int)[:, None], column.astype(int) % columns]
    return mask.astype(float), _grain(rng, size) - each


def _wood(rng: np.random.Generator, size: int) -> Layers:
    planks = int(rng.integers(1, 7))
    bend = tiled_noise(rng, size, (6, 3)) * rng.uniform(1, 5)
    row = np.arange(size)[:, None] * planks / size
    rings = np.sin(2 * np.pi * (row * rng.integers(1, 6) + bend))
    fibre = tiled_noise(rng, size, (size // 2, 4))
    joint = 1.0 - 0.6 * ((row % 1.0) < 0.04) * (planks > 1)
    plank_shade = 1 - 0.25 * rng.random(planks)[row.astype(int)]
    return np.clip(0.35 + 0.3 * rings + 0.5 * (fibre - 0.5), 0, 1), joint * plank_shade * np.ones(
        (1, size)
    )


def _dots(rng: np.random.Generator, size: int) -> Layers:
    count = int(rng.integers(2, 9))
    cell = (np.arange(size) * count / size) % 1.0 - 0.5
    radius = rng.uniform(0.15, 0.42)
    mask = np.hypot(cell[:, None], cell) < radius
    return mask.astype(float), _grain(rng, size)


def _label(rng: np.random.Generator, size: int) -> Layers:
    """Blocks and lines of print, as on a package."""
    mask = np.zeros((size, size))
    for _ in range(int(rng.integers(2, 6))):
        top, left = rng.integers(0, int(size * 0.8), 2)
        height, width = rng.integers(size // 16, size // 2, 2)
        mask[top : top + height, left : left + width] = rng.uniform(0.3, 1)
    for _ in range(int(rng.integers(2, 9))):
        top, left = rng.integers(0, int(size * 0.9), 2)
        letters = rng.random(int(rng.integers(6, 20))) < 0.7
        line = np.repeat(letters, 3)[None, : size - left] * np.ones((max(2, size // 32), 1))
        block = mask[top : top + line.shape[0], left : left + line.shape[1]]
        block[...] = np.abs(block - line[: block.shape[0]])
    return mask, _grain(rng, size)


def _gradient(rng: np.random.Generator, size: int) -> Layers:
    ramp = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.broadcast_to(ramp[:, None], (size, size)), _grain(rng, size)


PATTERNS: tuple[Callable[[np.random.Generator, int], Layers], ...] = (
    _plain,
    _plain,
    _blotches,
    _blotches,
    _stripes,
    _checks,
    _tiles,
    _wood,
    _wood,
    _dots,
    _label,
    _label,
    _gradient,
)
