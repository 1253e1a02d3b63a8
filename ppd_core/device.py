"""Which device and dtype to compute in, and a clock for what runs there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

FLOAT8 = torch.float8_e4m3fn
FLOAT8_CAPABILITY = (8, 9)
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
    "float8": FLOAT8,
}
"""Name -> dtype of the networks. float8 is that of most linears; the rest is in bfloat16."""

CPU_BFLOAT16 = ("avx512_bf16", "amx_tile")
"""The instructions, as torch asks for them."""


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


def resolve_dtype(
    dtype: torch.dtype | None, device: torch.device, backend: str = "eager"
) -> torch.dtype:
    """The dtype asked for; None is bfloat16 on CUDA and float32 on the CPU.

    CUDA devices before Ampere have no bfloat16 units: there None is float16. A CPU that has them
    computes in bfloat16, too, but where the backend is not the plain one: who asks for that wants
    speed, and the plain one's depth shall be the same on all machines.

    Raises:
        ValueError: not one of `DTYPES`, or float8 on a CUDA device that has no units for it.
    """
    if dtype is None:
        if device.type == "cpu":
            is_fast = backend != "eager" and cpu_has_bfloat16()
            return torch.bfloat16 if is_fast else torch.float32
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if dtype not in DTYPES.values():
        names = ", ".join(map(str, DTYPES.values()))
        raise ValueError(f"dtype must be one of {names}, got {dtype}")
    if dtype == FLOAT8 and device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < FLOAT8_CAPABILITY:
            raise ValueError(
                "float8 needs a CUDA device of compute capability 8.9 (Ada, Hopper) or newer, "
                f"got {'.'.join(map(str, capability))}"
            )
    return dtype


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by instructions of its own: AVX-512 BF16 or AMX."""
    checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in CPU_BFLOAT16)
    return any(check is not None and check() for check in checks)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """That of activations, and of weights as they are loaded: the dtype itself, but of float8."""
    return torch.bfloat16 if dtype == FLOAT8 else dtype


class StageSeconds(Mapping[str, float]):
    """Stage -> its seconds, in the order of the stages.

    Of a device's work they are not known before it is done: who reads a value waits for that
    stage, who lists the names does not.
    """

    def __init__(self) -> None:
        self._known: dict[str, float | tuple[Any, Any]] = {}

    def add(self, name: str, start: Any, end: Any) -> None:
        """Tell of a stage: two times in seconds, or two events that were recorded."""
        self._known[name] = end - start if isinstance(end, float) else (start, end)

    def copy(self) -> StageSeconds:
        """The same stages, to which others may be added."""
        copied = StageSeconds()
        copied._known.update(self._known)
        return copied

    def __getitem__(self, name: str) -> float:
        known = self._known[name]
        if not isinstance(known, float):
            start, end = known
            end.synchronize()
            known = self._known[name] = start.elapsed_time(end) / 1000
        return known

    def __contains__(self, name: object) -> bool:
        return name in self._known  # The mixin's own would read the value.

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return repr(dict(self))


class StageClock:
    """Times stages without a wait: on CUDA by events in the device's current stream.

    Args:
        device: where the stages run.
        earlier: stages that were timed by another clock; `seconds` begins with them.
        new_event: makes an event that marks a time; default `torch.cuda.Event` on CUDA, and on
            the CPU none: there, the host's clock tells.

    Attributes:
        seconds: of the stages so far.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        earlier: StageSeconds | None = None,
        new_event: Callable[[], Any] | None = None,
    ) -> None:
        self.device = device
        if new_event is None and device.type == "cuda":
            new_event = partial(torch.cuda.Event, enable_timing=True)
        self._new_event = new_event
        self.seconds = StageSeconds() if earlier is None else earlier.copy()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under `name`."""
        start = self._mark()
        yield
        self.seconds.add(name, start, self._mark())

    def _mark(self) -> Any:
        """An event, or the host's time."""
        if self._new_event is None:
            return time.perf_counter()
        event = self._new_event()
        if self.device.type == "cuda":
            event.record(torch.cuda.current_stream(self.device))
        else:
            event.record()
        return event


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch says that the device's memory is not enough."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU's allocator has no type of its own.
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)
