"""What is timed: a way of running the networks, on a size, with so many steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ppd_core.backends import resolve_backend
from ppd_core.bench.eager_autocast import published_dtype
from ppd_core.config import COARSE_PATCH_PX, PreprocessConfig, SamplerConfig
from ppd_core.device import FLOAT8

PRECISIONS = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float64: "fp64",
    FLOAT8: "fp8",
}
"""Dtype -> its name in a figure's."""
AS_PUBLISHED = "eager-autocast"
IN_BFLOAT16 = "eager-autocast-bf16"
BASES = (AS_PUBLISHED, IN_BFLOAT16)
"""What the others are compared with: the published code's way of running, in the dtype that it
chooses, and in bfloat16. On a CPU it chooses float16, for which CPUs are seldom made."""


def default_bases(device: torch.device) -> tuple[str, ...]:
    """Both, where they differ."""
    return BASES if device.type == "cpu" else (AS_PUBLISHED,)


def default_backends(device: torch.device) -> tuple[str, ...]:
    """The plain path, and the one that a pipeline takes by itself."""
    return tuple(dict.fromkeys(["eager", resolve_backend(None, device)]))


@dataclass(frozen=True)
class Way:
    """How the networks are run.

    Args:
        backend: of `backends.BACKENDS` or of `BASES`.
        dtype: that it computes in.
    """

    backend: str
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if not self.is_base:
            resolve_backend(self.backend, torch.device("cpu"))  # the name, that is

    @property
    def is_base(self) -> bool:
        """Nobody's choice, but what the others are compared with."""
        return self.backend in BASES

    @property
    def is_compiled(self) -> bool:
        """Whether the first frame takes longer than those after it."""
        return not self.is_base and self.backend != "eager"

    @property
    def precision(self) -> str:
        """As figures have it."""
        return PRECISIONS[self.dtype]

    @property
    def name(self) -> str:
        """As figures have it."""
        return f"{self.precision}.{self.backend.replace('-', '_')}"


@dataclass(frozen=True)
class Workload:
    """What is asked of it.

    Args:
        width, height: of image and model alike, multiples of 16.
        num_steps: network evaluations a frame.
        batch: images that go through together, as from so many cameras.
    """

    width: int
    height: int
    num_steps: int
    batch: int = 1

    def __post_init__(self) -> None:
        is_model_size = all(
            side >= COARSE_PATCH_PX and side % COARSE_PATCH_PX == 0
            for side in (self.width, self.height)
        )
        if not is_model_size:
            raise ValueError(
                f"size must have sides that are multiples of {COARSE_PATCH_PX}, "
                f"got {self.width}x{self.height}"
            )
        PreprocessConfig(processing_area=self.pixels)
        SamplerConfig(num_steps=self.num_steps)
        if self.batch < 1:
            raise ValueError(f"batch must be >= 1, got {self.batch}")

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.width * self.height

    @property
    def size(self) -> str:
        """As figures have it."""
        return f"{self.width}x{self.height}"

    @property
    def name(self) -> str:
        """As figures have it; a single image is not told."""
        of_batch = f".b{self.batch}" if self.batch > 1 else ""
        return f"{self.size}.{self.num_steps}{of_batch}"


@dataclass(frozen=True)
class Configuration:
    """One row of the table."""

    way: Way
    workload: Workload

    @property
    def name(self) -> str:
        """The first part of its figures' names."""
        return f"{self.way.name}.{self.workload.name}"


def ways(
    dtypes: Sequence[torch.dtype], backends: Sequence[str], bases: Sequence[str]
) -> list[Way]:
    """The bases, each in its own dtype, then every backend in every dtype.

    Raises:
        ValueError: no such backend.
    """
    of_base = {AS_PUBLISHED: published_dtype(), IN_BFLOAT16: torch.bfloat16}
    of_bases = [Way(base, of_base[base]) for base in bases]
    return of_bases + [Way(*pair) for pair in itertools.product(backends, dtypes)]


def workloads(
    sizes: Sequence[tuple[int, int]], steps: Sequence[int], batches: Sequence[int]
) -> list[Workload]:
    """Every size (width, height) with every number of steps and of images.

    Raises:
        ValueError: see `Workload`.
    """
    return [
        Workload(*size, num_steps, batch)
        for size, num_steps, batch in itertools.product(sizes, steps, batches)
    ]
