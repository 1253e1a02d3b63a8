"""Between the host's memory and a device's, without a wait that is not needed.

A copy from or to ordinary memory makes the host wait until the device has done all that it was
told before. One from or to page-locked ("pinned") memory is one more thing in the device's queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

STAGING_BUFFERS = 2
"""So that the host may fill one while the device still reads the other."""


class Uploader:
    """Brings images to a device through page-locked buffers that it keeps.

    Not for two threads at a time.

    Args:
        device: where the images go; on the CPU they are copied there and then.
        new_event: makes what is recorded after a copy and waited for before its buffer is filled
            again; default a CUDA event.
    """

    def __init__(self, device: torch.device, new_event: Callable[[], Any] | None = None) -> None:
        self.device = device
        self._is_pinned = device.type == "cuda"
        if new_event is None and self._is_pinned:
            new_event = torch.cuda.Event
        self._new_event = new_event
        self._buffers = [torch.empty(0, dtype=torch.uint8, device="cpu")] * STAGING_BUFFERS
        self._copied: list[Any] = [None] * STAGING_BUFFERS
        self._turn = 0

    def upload(self, images: Sequence[np.ndarray], out: Tensor | None = None) -> Tensor:
        """Queue the copy of images to the device, in its current stream.

        Args:
            images: B of (H, W, 3) uint8 of one size, any layout; free again at return.
            out: (B, H, W, 3) uint8 on the device, to copy into, such as a CUDA graph's own input.

        Returns:
            (B, H, W, 3) uint8, `out` if it is given.

        Raises:
            ValueError: `out` does not fit, or the images are not such.
        """
        shape = (len(images), *images[0].shape)
        if any(one.dtype != np.uint8 or one.shape != images[0].shape for one in images):
            came = ", ".join(f"{one.shape} {one.dtype}" for one in images)
            raise ValueError(f"images must be uint8 and of one size, got {came}")
        if out is None:
            out = torch.empty(shape, dtype=torch.uint8, device=self.device)
        elif tuple(out.shape) != shape or out.dtype != torch.uint8:
            raise ValueError(f"out must be {shape} uint8, got {tuple(out.shape)} {out.dtype}")
        self._turn = (self._turn + 1) % STAGING_BUFFERS
        staged = self._free_buffer(self._turn, out.numel()).view(shape)
        for row, image in zip(staged.numpy(), images, strict=True):
            np.copyto(row, image)
        out.copy_(staged, non_blocking=True)
        if self._new_event is not None:
            self._copied[self._turn] = self._new_event()
            self._record(self._copied[self._turn])
        return out

    def _free_buffer(self, turn: int, size: int) -> Tensor:
        """The first `size` bytes of a buffer that no copy reads any more."""
        if self._copied[turn] is not None:
            self._copied[turn].synchronize()
        if self._buffers[turn].numel() < size:
            self._buffers[turn] = torch.empty(
                size, dtype=torch.uint8, device="cpu", pin_memory=self._is_pinned
            )
        return self._buffers[turn][:size]

    def _record(self, event: Any) -> None:
        if self._is_pinned:
            event.record(torch.cuda.current_stream(self.device))
        else:
            event.record()


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of an array on a device, whose host does not wait for it.

    For what comes now and then: the page-locked memory is not kept.
    """
    copied = torch.from_numpy(array.copy())  # torch takes no flipped arrays
    if device.type != "cuda":
        return copied.to(device)
    # The allocator of pinned memory gives it to nobody else before the copy is over.
    return copied.pin_memory().to(device, non_blocking=True)


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors in the host's memory: those of a CUDA device in one go, with one wait for all.

    Args:
        tensors: of any shape and dtype; those on the CPU are returned as they are.
    """
    streams = {}
    on_host = []
    for tensor in tensors:
        if tensor.device.type != "cuda":
            on_host.append(tensor.cpu())
            continue
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        on_host.append(pinned.copy_(tensor, non_blocking=True))
        streams[tensor.device] = torch.cuda.current_stream(tensor.device)
    for stream in streams.values():
        stream.synchronize()
    return on_host
