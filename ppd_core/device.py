"""Which device and dtype to compute in, and a clock for what runs there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, the CPU or a CUDA device; None is CUDA if there is any, else the CPU.

    Raises:
        ValueError: another kind of device, or one that is not here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be like 'cpu' or 'cuda:0', got {device!r}") from error
    if checked.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or a CUDA device, got {str(device)!r}")
    if checked.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device} wanted, but torch finds no CUDA device; use 'cpu'")
    if checked.type == "cuda" and (checked.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device} wanted, got {torch.cuda.device_count()} CUDA device(s)")
    return checked


def resolve_dtype(dtype: torch.dtype | None, device: torch.device) -> torch.dtype:
    """The dtype asked for; None is float32 on the CPU, bfloat16 on CUDA.

    CUDA devices before Ampere have no bfloat16 units: there None is float16.

    Raises:
        ValueError: not one of `DTYPES`.
    """
    if dtype is None:
        if device.type == "cpu":
            return torch.float32
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype}")
    return dtype


class StageClock:
    """Seconds of each stage, the device's queue emptied at each end."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under `name`."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = time.perf_counter() - start
