"""From a camera's image to the model's input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from ppd_core.config import COARSE_PATCH_PX, MAX_IMAGE_PIXELS
from ppd_core.device_resize import device_model_images
from ppd_core.transfer import Uploader

MIN_IMAGE_SIDE_PX = COARSE_PATCH_PX


def check_image(image: np.ndarray) -> None:
    """Accept an (H, W, 3) uint8 RGB image, at least 16 x 16 and at most 100 megapixels.

    Raises:
        ValueError: anything else; the message says what came, and how to mend the usual slips.
    """
    wanted = "image must be (H, W, 3) uint8 RGB"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{wanted} as a numpy array, got {type(image).__name__}")
    came = f"{image.shape} {image.dtype}"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise ValueError(f"{wanted}, got greyscale {came}; repeat it: np.dstack([image] * 3)")
    if image.ndim == 3 and image.shape[2] == 4:
        raise ValueError(f"{wanted}, got four channels {came}; drop alpha: image[..., :3]")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        raise ValueError(f"{wanted}, got channels first {came}; use image.transpose(1, 2, 0)")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{wanted}, got {came}")
    if image.dtype != np.uint8:
        raise ValueError(f"{wanted}, got {came}; {_dtype_hint(image)}")
    height, width = image.shape[:2]
    if min(height, width) < MIN_IMAGE_SIDE_PX:
        raise ValueError(
            f"image must be at least {MIN_IMAGE_SIDE_PX} x {MIN_IMAGE_SIDE_PX} pixels, "
            f"got {width} x {height}"
        )
    if height * width > MAX_IMAGE_PIXELS:
        raise ValueError(
            f"image must have at most {MAX_IMAGE_PIXELS // 10**6} megapixels, "
            f"got {width} x {height} = {height * width / 1e6:.0f}"
        )


def _dtype_hint(image: np.ndarray) -> str:
    if image.dtype == np.uint16:
        return "scale 16-bit values: (image // 257).astype(np.uint8)"
    if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
        return "and it holds NaN or infinite values"
    if np.issubdtype(image.dtype, np.integer):
        return "convert values in 0..255: image.astype(np.uint8)"
    return "scale values in [0, 1]: (image * 255).round().astype(np.uint8)"


def model_size(height: int, width: int, processing_area: int) -> tuple[int, int]:
    """The (h, w) at which the model sees an H x W image.

    The aspect ratio is kept, the area brought near `processing_area` pixels and both sides
    rounded to multiples of 16. Example: 480 x 640 at 1024 * 768 is (768, 1024).

    Raises:
        ValueError: the image is so narrow that one row of patches is over twice the area.
    """
    scale = (processing_area / (height * width)) ** 0.5

    def rounded(side: float) -> int:
        return max(COARSE_PATCH_PX, round(side * scale / COARSE_PATCH_PX) * COARSE_PATCH_PX)

    h, w = rounded(height), rounded(width)
    if h * w > 2 * processing_area:
        raise ValueError(
            f"image must be less narrow: {width} x {height} would be {w} x {h} at model size, "
            f"over twice the processing_area of {processing_area}"
        )
    return h, w


def is_shrinking(height: int, width: int, processing_area: int) -> bool:
    """Whether an H x W image is resized by area, else cubic."""
    return processing_area < height * width


def model_images(
    images: Sequence[np.ndarray],
    processing_area: int,
    device: torch.device,
    dtype: torch.dtype,
    uploader: Uploader | None = None,
) -> Tensor:
    """Images of one model size as a batch on a device; resized there, unless it is the CPU.

    Args:
        images: each (H, W, 3) uint8 RGB.
        processing_area: pixels at model size.
        uploader: of that device, for a caller with many images; None makes one for this call.

    Returns:
        (B, 3, h, w) in [0, 1]. The host does not wait for another device.

    Raises:
        ValueError: see `check_image`.
    """
    if device.type == "cpu":
        return joined([preprocess(image, processing_area).to(dtype) for image in images])
    uploader = Uploader(device) if uploader is None else uploader
    pixels = [uploader.upload(run) for run in runs_of_one_size(images)]
    return model_images_of_pixels(pixels, processing_area, dtype)


def runs_of_one_size(images: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Neighbours of one size together, all in their order.

    Raises:
        ValueError: see `check_image`.
    """
    for image in images:
        check_image(image)
    return [list(run) for _, run in groupby(images, key=lambda image: image.shape)]


def model_images_of_pixels(
    pixels: Sequence[Tensor], processing_area: int, dtype: torch.dtype
) -> Tensor:
    """The end of `model_images` on a device: kernels alone, fit for a CUDA graph.

    Args:
        pixels: each (B_i, H_i, W_i, 3) uint8 on the device, of one model size.
        processing_area: pixels at model size.

    Returns:
        (sum of B_i, 3, h, w) in [0, 1].
    """
    resized = []
    for batch in pixels:
        height, width = batch.shape[1:3]
        h, w = model_size(height, width, processing_area)
        shrinks = is_shrinking(height, width, processing_area)
        resized.append(device_model_images(batch, h, w, shrinks, dtype))
    return joined(resized)


def joined(batches: list[Tensor]) -> Tensor:
    """One batch of several."""
    return batches[0] if len(batches) == 1 else torch.cat(batches)  # cat copies one, too


def preprocess(image: np.ndarray, processing_area: int) -> Tensor:
    """Resize an image to model size: by area when it shrinks, cubic when it grows.

    Args:
        image: (H, W, 3) uint8 RGB.
        processing_area: pixels at model size.

    Returns:
        (1, 3, h, w) float32 in [0, 1] on the CPU.

    Raises:
        ValueError: see `check_image`.
    """
    import cv2  # 0.15 s to import; `import ppd_core` must not pay for it

    check_image(image)
    height, width = image.shape[:2]
    h, w = model_size(height, width, processing_area)
    if (h, w) != (height, width):
        shrinks = is_shrinking(height, width, processing_area)
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        image = cv2.resize(image, (w, h), interpolation=interpolation)
    # Over twice as fast as a transposed copy.
    planes = torch.from_numpy(np.stack(cv2.split(image)))
    return planes[None].float().div_(255)
