"""Networks that were compiled ahead of time, from a package that `ppd export` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.backends.package import Host, PackageFacts, describe, read_facts
from ppd_core.device import StageClock, resolve_device
from ppd_core.networks import Estimate
from ppd_core.preprocess import model_images
from ppd_core.registry import WeightsError

TENSORRT_MISSING = (
    "format tensorrt needs torch_tensorrt in the release that belongs to this torch: "
    "pip install torch-tensorrt"
)


class AotiBackend:
    """Takes images of one size, in one batch size and step count; holds no modules.

    Args:
        facts: what it was built for.
        run: (images, x_t) -> relative depth, as `export.FixedSampler`.
        device: where `run` works.
    """

    def __init__(
        self, facts: PackageFacts, run: Callable[[Tensor, Tensor], Tensor], device: torch.device
    ) -> None:
        self.name = facts.format
        self.built = facts
        self.device = device
        self.dtype: torch.dtype = getattr(torch, facts.dtype)
        self.state_dtype = torch.promote_types(self.dtype, torch.float32)
        self._run = run

    @property
    def facts(self) -> Mapping[str, str]:
        """What the package was built for, for people."""
        return {"package": self.built.built_for}

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`; the stage "sample" has the prompt in it."""
        self._check(x_t.shape, timesteps)
        with clock.stage("preprocess"):
            model = model_images(images, processing_area, self.device, self.state_dtype)
        with clock.stage("sample"):
            return Estimate(self.run(model, x_t), None)

    def run(self, images: Tensor, x_t: Tensor) -> Tensor:
        """Relative depth (B, 1, h, w) of images and noise of the very shapes it was built for."""
        # Compiled code asks for no strides: it reads what is there as what it was built for.
        return self._run(images.contiguous(), x_t.contiguous())

    def _check(self, shape: Sequence[int], timesteps: Sequence[int]) -> None:
        facts = self.built
        batch, _, height, width = shape
        got = describe(batch, height, width, len(timesteps))
        if got != facts.built_for:
            raise ValueError(f"this package was built for {facts.built_for}; got {got}")
        if tuple(timesteps) != facts.timesteps:
            raise ValueError(
                f"this package was built for the times {facts.timesteps}, got {tuple(timesteps)}"
            )


def load_package(
    path: str | Path,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
) -> AotiBackend:
    """Load a package. It is a program: this runs native code of the file, with all your rights.

    Args:
        device, dtype, backend: None is the package's; another one is refused.

    Raises:
        WeightsError: missing, truncated, or not a package of `ppd export`.
        ValueError: it was built for another machine, or something else was asked for.
    """
    facts = read_facts(path)
    checked = check_here(path, facts, device, dtype, backend)
    return open_package(path, facts, checked)


def check_here(
    path: str | Path,
    facts: PackageFacts,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
    backend: str | None,
) -> torch.device:
    """The device that a package can run on here.

    Raises:
        ValueError: there is none, or something else was asked for.
    """

    def require(holds: bool, refusal: str) -> None:
        if not holds:
            raise ValueError(f"package {path} was {refusal}; export it anew where it is to run")

    if device is None and facts.device_type == "cuda":
        require(torch.cuda.is_available(), "built for a CUDA device, got a machine without one")
    checked = resolve_device(device or facts.device_type)
    require(
        checked.type == facts.device_type, f"built for device {facts.device_type}, got {checked}"
    )
    require(
        dtype in (None, getattr(torch, facts.dtype)),
        f"built for dtype {facts.dtype}, got {str(dtype).removeprefix('torch.')}",
    )
    require(
        backend in (None, facts.format), f"built for backend {facts.format!r}, got {backend!r}"
    )
    refusal = facts.host.refusal(Host.of(checked))
    require(not refusal, refusal)
    return checked


def open_package(path: str | Path, facts: PackageFacts, device: torch.device) -> AotiBackend:
    """Load a package that was checked.

    Raises:
        WeightsError: torch cannot load it.
    """
    if facts.format == "tensorrt":
        import_tensorrt()  # Its operations have to be known before the package asks for them.
    of_device = () if device.index is None else (False, 1, device.index)
    try:
        # Not `aoti_load_package`: it imports the compiler and, to name the CPU, compiles test
        # programs, for seconds, on a robot that may lack g++. `facts.host` has told of the CPU.
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", *of_device)
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"package {path} cannot be loaded: {reason}") from error
    return AotiBackend(facts, lambda *inputs: loader.boxed_run(list(inputs))[0], device)


def import_tensorrt() -> Any:
    """The module torch_tensorrt.

    Raises:
        ValueError: it is not installed; the message says how to get it.
    """
    try:
        import torch_tensorrt
    except ImportError as error:
        raise ValueError(f"{TENSORRT_MISSING} ({error})") from error
    return torch_tensorrt
