"""How a frame is varied before the network sees it: pure functions of the frame and a generator.

Images are filtered when their size changes; depth never is: an average of two surfaces is a point
in the air between them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from ppd_core.training.data_config import AugmentConfig

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TO_YIQ = np.array(
    [_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=np.float32
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ).astype(np.float32)
_MIN_BLUR_PX = 0.1
_JPEG_QUALITY = (40, 96)


def augment(
    image: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, mirror, and change colours and noise.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float, metres; may hold NaN and inf.
        size: (h, w) of what comes out.

    Returns:
        (h, w, 3) uint8 and (h, w) float32, contiguous.
    """
    box = random_crop_box(image.shape[:2], size, config.crop_scale, rng)
    image = resize_image(crop(image, box), size)
    depth = resize_depth(crop(depth, box), size)
    if rng.random() < config.flip_share:
        image, depth = image[:, ::-1], depth[:, ::-1]
    is_recoloured = rng.random() < config.colour_share
    is_noisy = rng.random() < config.noise_share
    if is_recoloured or is_noisy:
        values = image.astype(np.float32) * np.float32(1 / 255)
        if is_recoloured:
            values = jitter_colours(values, config, rng)
        if is_noisy:
            values = add_camera_noise(values, config, rng)
        image = (values.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < config.jpeg_share:
        image = through_jpeg(image, int(rng.integers(*_JPEG_QUALITY)))
    return np.ascontiguousarray(image), np.ascontiguousarray(depth)


Box = tuple[int, int, int, int]
"""top, left, height, width in pixels."""


def random_crop_box(
    full: tuple[int, ...],
    size: tuple[int, int],
    scale: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """A box of the aspect of `size`, its side a random share of the largest that fits."""
    fit = rng.uniform(*scale) * min(full[0] / size[0], full[1] / size[1])
    height, width = (
        max(1, min(whole, round(side * fit))) for whole, side in zip(full, size, strict=False)
    )
    top = int(rng.integers(full[0] - height + 1))
    left = int(rng.integers(full[1] - width + 1))
    return top, left, height, width


def largest_box(full: tuple[int, ...], size: tuple[int, int]) -> Box:
    """The largest centred box of the aspect of `size`."""
    scale = min(full[0] / size[0], full[1] / size[1])
    height, width = min(full[0], round(size[0] * scale)), min(full[1], round(size[1] * scale))
    return (full[0] - height) // 2, (full[1] - width) // 2, height, width


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    """The box of an (H, W, ...) array, a view."""
    top, left, height, width = box
    return array[top : top + height, left : left + width]


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 to (h, w): averaged when it shrinks, bilinear when it grows."""
    height, width = size
    if image.shape[:2] == size:
        return image
    is_shrinking = height * width <= image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if is_shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) to (h, w) float32: of each new pixel, the depth at its centre."""
    rows = _nearest(depth.shape[0], size[0])
    cols = _nearest(depth.shape[1], size[1])
    return depth[rows[:, None], cols].astype(np.float32)


def _nearest(old: int, new: int) -> np.ndarray:
    # By centres: cv2.INTER_NEAREST takes corners, and so shifts depth against the image.
    return ((np.arange(new) + 0.5) * (old / new)).astype(np.intp).clip(max=old - 1)


def jitter_colours(
    image: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """Saturation, hue, contrast, brightness and gamma of (H, W, 3) float32 in [0, 1].

    All but gamma are one affine map of the colour, so they cost one pass.
    """
    brightness, contrast, saturation = (
        1 + rng.uniform(-s, s) for s in (config.brightness, config.contrast, config.saturation)
    )
    angle = math.radians(rng.uniform(-config.hue_deg, config.hue_deg))
    gamma = math.exp(rng.uniform(-config.gamma, config.gamma))
    i, q = saturation * math.cos(angle), saturation * math.sin(angle)
    chroma = np.array([[1, 0, 0], [0, i, -q], [0, q, i]], np.float32)
    mean = float(_LUMA @ image.reshape(-1, 3).mean(0))
    gain = brightness * contrast
    offset = brightness * (1 - contrast) * mean
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = gain * (_FROM_YIQ @ chroma @ _TO_YIQ)
    matrix[:, 3] = offset
    image = cv2.transform(image, matrix).clip(0, 1)
    return image if config.gamma == 0 else cv2.pow(image, gamma)


def add_camera_noise(
    image: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """A slight blur, then noise whose variance is `read^2 + shot^2 I`, on float32 in [0, 1]."""
    blur_px = rng.uniform(0, config.blur_px)
    if blur_px > _MIN_BLUR_PX:
        image = cv2.GaussianBlur(image, (0, 0), blur_px)
    read, shot = rng.uniform(0, config.read_noise), rng.uniform(0, config.shot_noise)
    if read == 0 and shot == 0:
        return image
    deviation = np.sqrt(np.float32(read**2) + np.float32(shot**2) * image.clip(min=0))
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB as JPEG of that quality gives it back."""
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert done and decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def image_tensor(image: Tensor, device: torch.device) -> Tensor:
    """(B, h, w, 3) uint8 to (B, 3, h, w) float32 in [0, 1] on the device, channels last."""
    image = image.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return image.to(torch.float32).div_(255)
