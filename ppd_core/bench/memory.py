"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class PeakMemory:
    """What a block takes beyond what was there when it began.

    On CUDA: torch's own allocations on the device. On the CPU: the resident memory of the whole
    process (Linux: VmHWM, set back first), after free memory was given back as far as the
    allocator can; elsewhere unknown.

    Attributes:
        growth_bytes: after the block, its peak beyond the start; None = unknown.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start_bytes: int | None = None
        self.growth_bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start_bytes = torch.cuda.memory_allocated(self._device)
        elif _set_back():
            self._start_bytes = _status_bytes("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._start_bytes is None:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            peak_bytes = torch.cuda.max_memory_allocated(self._device)
        else:
            peak_bytes = _status_bytes("VmHWM")
        self.growth_bytes = max(0, peak_bytes - self._start_bytes)


def weight_bytes(models: nn.Module) -> int:
    """Of parameters and buffers."""
    tensors = [*models.parameters(), *models.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _set_back() -> bool:
    """Let the peak count from now on; False where that cannot be had."""
    if not sys.platform.startswith("linux"):
        return False
    with suppress(AttributeError):  # not the GNU library, which alone keeps much
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
