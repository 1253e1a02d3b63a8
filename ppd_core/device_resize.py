"""Resizing on a device as `cv2.resize` does it on the CPU: by area when it shrinks, cubic when it
grows.

Either is a weighted sum of a few samples along the rows, and then of a few along the columns. The
weights depend on the sizes alone. Sums and not matrix products: a product's precision is a
setting of the process (TF32), and nearly all of such a matrix is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

KEPT_SIZES = 16
"""Of so many pairs of sides the weights are kept: 2 an image size."""

_CUBIC_A = -0.75


@dataclass(frozen=True, eq=False)
class AxisWeights:
    """What each of n wanted positions along an axis is the weighted sum of.

    Attributes:
        indices: (K, n) int64, samples of the axis; one of weight 0 may be any.
        weights: (K, n) float32, their sum over K is 1.
    """

    indices: Tensor
    weights: Tensor


def device_model_images(
    pixels: Tensor, h: int, w: int, is_shrinking: bool, dtype: torch.dtype
) -> Tensor:
    """`preprocess.model_images` of pixels that are on their device, as kernels alone.

    No host sync, and once `resize` was called with such sizes, no copy from the host: it can be
    captured in a CUDA graph.

    Args:
        pixels: (B, H, W, 3) uint8 RGB.
        h, w: of `preprocess.model_size`.
        is_shrinking: of `preprocess.is_shrinking`.

    Returns:
        (B, 3, h, w) in [0, 1].
    """
    return resize(pixels, h, w, is_shrinking).to(dtype)


def resize(pixels: Tensor, h: int, w: int, is_shrinking: bool) -> Tensor:
    """Resize images to h x w, in float32, and round to whole levels as cv2 does.

    Args:
        pixels: (B, H, W, 3) uint8, on any device.
        h, w: the size wanted, each larger or smaller or the same.
        is_shrinking: as cv2's INTER_AREA, else as INTER_CUBIC.

    Returns:
        (B, 3, h, w) float32 in [0, 1], contiguous. Where cv2 reckons in whole numbers it may
        differ by one of 255 levels.

    Raises:
        ValueError: `pixels` are not such images.
    """
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != torch.uint8:
        raise ValueError(
            f"pixels must be (B, H, W, 3) uint8, got {tuple(pixels.shape)} {pixels.dtype}"
        )
    height, width = pixels.shape[1:3]
    levels = pixels.float()
    if (h, w) != (height, width):
        kind = _kind((height, width), (h, w), is_shrinking)
        rows, cols = image_weights((height, width), (h, w), is_shrinking, pixels.device)
        levels = _weighted_sum(_weighted_sum(pixels, 1, rows), 2, cols)
        levels = _whole(levels, kind == "area" and (height, width) == (2 * h, 2 * w))
    return levels.permute(0, 3, 1, 2).contiguous().div_(255)


def image_weights(
    size: tuple[int, int], wanted: tuple[int, int], is_shrinking: bool, device: torch.device
) -> tuple[AxisWeights, AxisWeights]:
    """The weights that `resize` uses for rows and for columns, of those that are kept.

    Who records `resize` in a CUDA graph must keep them as well: the graph reads these tensors.
    """
    kind = _kind(size, wanted, is_shrinking)
    rows, cols = (axis_weights(kind, *axis, device) for axis in zip(size, wanted, strict=True))
    return rows, cols


def _kind(size: tuple[int, int], wanted: tuple[int, int], is_shrinking: bool) -> str:
    if not is_shrinking:
        return "cubic"
    # Like cv2, which averages areas only where no side grows.
    return "area" if wanted[0] <= size[0] and wanted[1] <= size[1] else "linear"


def _whole(levels: Tensor, is_half_up: bool) -> Tensor:
    """Round in place: a half to the even level or, as cv2 does the mean of 2 x 2, upwards."""
    rounded = levels.add_(0.5).floor_() if is_half_up else levels.round_()
    return rounded.clamp_(0, 255)


def _weighted_sum(values: Tensor, dim: int, axis: AxisWeights) -> Tensor:
    """Along a dimension of (B, H, W, 3), in float32."""
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    total: Tensor | None = None
    for indices, weights in zip(axis.indices, axis.weights, strict=True):
        term = values.index_select(dim, indices) * weights.view(shape)
        total = term if total is None else total.add_(term)
    assert total is not None
    return total


@lru_cache(maxsize=2 * KEPT_SIZES)
def axis_weights(kind: str, size: int, wanted: int, device: torch.device) -> AxisWeights:
    """The weights that bring an axis of `size` samples to `wanted`; the last few are kept.

    Args:
        kind: "area" (wanted <= size), "linear" (what cv2 makes of INTER_AREA where a side of the
            image grows), or "cubic".
    """
    make = {"area": _area, "linear": _area_linear, "cubic": _cubic}[kind]
    # On the CPU, in float64: exact, and the same for every device.
    with torch.inference_mode(False), torch.device("cpu"):  # Others get these very tensors.
        first, weights = make(size, wanted)
        indices = first + torch.arange(len(weights))[:, None]
        indices = indices.clamp(0, size - 1)  # Beyond the border it is continued.
        return AxisWeights(indices.to(device), weights.float().to(device))


def _area(size: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Each position is the mean over its share of the axis: first index (n,), weights (K, n)."""
    ratio = size / wanted
    # As fractions of whole numbers, so that no border is a hair beyond a sample.
    starts = torch.arange(wanted) * size
    first = starts // wanted
    count = max(-(-(i + 1) * size // wanted) - i * size // wanted for i in range(wanted))
    begin = first + torch.arange(count)[:, None]
    start, end = starts.double() / wanted, (starts + size).double() / wanted
    covered = torch.minimum(begin + 1, end) - torch.maximum(begin.double(), start)
    return first, covered.clamp(min=0) / ratio


def _area_linear(size: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Two neighbours; a position that lies within one sample is that sample."""
    # Where a border falls on a sample, cv2's own rounding decides between the sample and the one
    # before it: so its order of operations is kept.
    inverse_ratio = wanted / size
    positions = torch.arange(wanted).double()
    first = (positions * (1 / inverse_ratio)).floor()
    weight = ((positions + 1) - (first + 1) * inverse_ratio).float()
    weight = torch.where(weight <= 0, 0, weight - weight.floor())
    return first.long(), torch.stack([1 - weight, weight])


def _cubic(size: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Four neighbours by Keys' kernel, centres of samples and positions at halves.

    Source: Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    centre = (torch.arange(wanted).double() + 0.5) * size / wanted - 0.5
    first = centre.floor()
    distance = (centre - first - torch.arange(-1, 3)[:, None]).abs()
    a = _CUBIC_A
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return first.long() - 1, torch.where(distance <= 1, near, far)
