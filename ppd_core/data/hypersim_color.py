"""Hypersim's radiance images as pictures."""

from __future__ import annotations

import numpy as np

GAMMA = 1 / 2.2
BRIGHTNESS_PERCENTILE = 90
BRIGHTNESS_WANTED = 0.8
MIN_BRIGHTNESS = 1e-4


def tonemap(radiance: np.ndarray, has_geometry: np.ndarray) -> np.ndarray:
    """Scale radiance so that its 90 % brightness becomes 0.8 after gamma.

    Args:
        radiance: (H, W, 3) float32, linear, RGB; not finite = broken pixels, black or white.
        has_geometry: (H, W) bool, the pixels that the scale comes from.

    Returns:
        (H, W, 3) uint8 RGB.

    Source: https://github.com/apple/ml-hypersim, code/python/tools/
    scene_generate_images_tonemap.py (the rule and its constants).
    """
    brightness = (radiance @ np.array([0.3, 0.59, 0.11], np.float32))[has_geometry]
    brightness = brightness[np.isfinite(brightness)]
    scale = 1.0
    if brightness.size:
        current = float(np.percentile(brightness, BRIGHTNESS_PERCENTILE))
        is_dark = current < MIN_BRIGHTNESS
        scale = 0.0 if is_dark else BRIGHTNESS_WANTED ** (1 / GAMMA) / current
    with np.errstate(invalid="ignore"):  # inf * 0 in a dark image: black, like NaN
        encoded = np.clip(radiance * np.float32(scale), 0, 1) ** np.float32(GAMMA)
    return np.rint(np.nan_to_num(encoded, nan=0) * 255).astype(np.uint8)
