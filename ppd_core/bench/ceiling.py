"""What the hardware does at best: a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SIDES = (512, 1024, 2048, 4096, 8192, 16384)
"""Of the square matrices that are tried, as long as one product takes no longer than is left."""
SECONDS = 0.1
"""That each size is repeated for."""
LONGEST_S = 0.5


def measured_ceiling(dtype: torch.dtype, device: torch.device) -> float | None:
    """FLOP/s of the fastest of several square matrix products.

    Float32 is as torch is set: with TF32 where that is allowed. Float8 (e4m3) is scaled by one
    number a matrix, its result bfloat16.

    Returns:
        None where torch has no such product on the device.
    """
    if device.type != "cuda":
        return _fastest(dtype, device)
    with torch.cuda.device(device):  # events are of the current one
        return _fastest(dtype, device)


def _fastest(dtype: torch.dtype, device: torch.device) -> float | None:
    best = 0.0
    for side in SIDES:
        try:
            product = _product(side, dtype, device)
            seconds = _best_seconds(product, device)
        except (RuntimeError, NotImplementedError):
            return best or None  # no such product, or no room for this size
        best = max(best, 2 * side**3 / seconds)
        # The next takes eight times as long, and its first call is more than that.
        if 8 * seconds > LONGEST_S:
            break
    return best


def _product(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2)
    )
    if dtype.itemsize > 1:
        return lambda: F.linear(left, right)  # as layers have it: some CPUs know no other
    one = torch.ones((), device=device)
    by_columns = right.t()  # the only layout that it takes
    return lambda: torch._scaled_mm(
        left, by_columns, scale_a=one, scale_b=one, out_dtype=torch.bfloat16
    )


def _best_seconds(product: Callable[[], Tensor], device: torch.device) -> float:
    """The shortest of several, each of enough products that the clock does not count."""
    _seconds(product, 1, device)
    single = max(_seconds(product, 1, device), 1e-6)
    count = max(1, min(100, round(SECONDS / 3 / single)))
    repeats = 3 if 3 * count * single < 2 * LONGEST_S else 1
    return min(single, *(_seconds(product, count, device) for _ in range(repeats)))


def _seconds(product: Callable[[], Tensor], count: int, device: torch.device) -> float:
    """Of one of `count` products in a row."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            product()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / count
    start = time.perf_counter()
    for _ in range(count):
        product()
    return (time.perf_counter() - start) / count
