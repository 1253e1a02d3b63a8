"""Which of a real sensor's pixels are hidden, to ask for them: its own word is the truth there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ppd_core.geometry.edges import depth_edges

BLOCKS = 40
BLOCK_SHARES = 1 / 40, 1 / 10
"""Sides of a block, from and to, as shares of the image's width."""
BAND_SHARE = 1 / 120
"""Half the width of a band along a border, as a share of the image's width."""
TILE_SHARE = 1 / 10
"""Side of the tiles that a band is moved together in."""


@dataclass(frozen=True, eq=False)
class Hidden:
    """Two masks, (H, W) bool, that have no pixel in common; the sensor may have holes there.

    Attributes:
        blocks: rectangles anywhere.
        bands: along the borders that the sensor sees.
    """

    blocks: np.ndarray
    bands: np.ndarray


def hidden_pixels(sensor: np.ndarray) -> Hidden:
    """Choose; the same image, the same pixels.

    A border seldom runs in the middle of what a sensor does not see: beside a near object lies
    its shadow. So in each tile the band is moved to a side, by up to half of its width.

    Args:
        sensor: (H, W) float32, metres; NaN = hole.
    """
    height, width = sensor.shape
    rng = np.random.default_rng(0)
    blocks = np.zeros(sensor.shape, bool)
    low, high = (max(1, round(share * width)) for share in BLOCK_SHARES)
    for _ in range(BLOCKS):
        rows, cols = rng.integers(low, high, 2, endpoint=True)
        top, left = rng.integers(0, height), rng.integers(0, width)
        blocks[top : top + rows, left : left + cols] = True
    bands = _bands(_edges(sensor), rng)
    return Hidden(blocks & ~bands, bands)


def _edges(sensor: np.ndarray) -> np.ndarray:
    depth = torch.from_numpy(sensor)
    return depth_edges(depth, torch.isfinite(depth)).numpy()


def _bands(edges: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = edges.shape
    reach = max(2, round(BAND_SHARE * width))
    tile = max(1, round(TILE_SHARE * width))
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    framed = np.pad(cv2.dilate(edges.astype(np.uint8), kernel), reach).astype(bool)
    bands = np.zeros_like(edges)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            down, right = rng.integers(0, 2 * reach, 2, endpoint=True)
            part = bands[top : top + tile, left : left + tile]
            rows, cols = part.shape
            part[:] = framed[top + down :, left + right :][:rows, :cols]
    return bands
