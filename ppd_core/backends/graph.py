"""The fast path: what depends on times and size kept, fused kernels, on CUDA one graph a frame.

On a CPU, torch's compiler fuses what lies between the matrix products, and prepacks the weights
of small networks. On CUDA it fuses, too, and the whole of a frame, from the camera's pixels to
relative depth, is recorded once for each size, count of images and times, and then replayed.
Nothing of it is believed: the first frame of each is computed the plain way, too, and the depths
are compared.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core.backends.capture import Capture, CudaCapture
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.programs import CapturedProgram, CompiledProgram, Program
from ppd_core.compile_cache import keep_compiled
from ppd_core.config import FINE_PATCH_PX
from ppd_core.cpp_compiler import require_cpp_compiler
from ppd_core.device import FLOAT8, StageClock, is_out_of_memory
from ppd_core.models.attention import fastest_kernel, kernels
from ppd_core.models.float8 import is_float8
from ppd_core.models.layers import Attention, alike_blocks
from ppd_core.networks import Estimate, Networks
from ppd_core.precision import DEPTH_TOLERANCE, WrongDepthError, relative_error
from ppd_core.transfer import Uploader

MAX_PROGRAMS = 32
"""Sizes, counts and times that are kept; beyond them the one unused for longest is dropped.

Four cameras with a warm start need nine: each count with and without it, and one for
`~/estimate_once`. One too few, and a frame in each round would wait for its capture."""
SMALL_PARAMETERS = 64_000_000
"""Up to here a network is compiled as a whole with its weights prepacked, which are so in memory
twice and must be compiled each by itself; above, one block stands for all that are alike."""
_RECOMPILE_LIMIT = 64
"""torch's own, 8, would be reached by a few sizes, and it then goes on without compiling."""


class GraphBackend:
    """Ready after seconds to minutes for each new size, then several times as fast.

    Args:
        networks: stay as they are; a twin of them is compiled.

    Raises:
        ValueError: see `compile_networks`.
    """

    name = "graph"
    largest_error = 0.0
    """Of depth, relative to that of the plain path, so far."""

    def __init__(self, networks: Networks) -> None:
        self._plain = EagerBackend(networks)
        self._networks = networks.twin()
        self._programs: OrderedDict[object, Program] = OrderedDict()
        self._refusal = ""
        self._facts: dict[str, str] = {}
        self._uploader = Uploader(networks.device)
        is_cuda = networks.device.type == "cuda"
        self._capture: Capture | None = CudaCapture(networks.device) if is_cuda else None
        if is_cuda and (reason := _why_not_fused()):
            # The graph alone is worth having.
            self._facts["fusion"] = f"none: {reason}"
        else:
            self._facts |= _keep_compiled()
            compile_networks(self._networks)

    @property
    def facts(self) -> Mapping[str, str]:
        """What was chosen for this device, for people; empty before the first image."""
        return self._facts

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`.

        Raises:
            WrongDepthError: compiled, the networks give another depth than the plain path here.
        """
        sizes = tuple(image.shape[:2] for image in images)
        key = sizes, processing_area, tuple(x_t.shape), tuple(timesteps)
        # Always the same mode: compiled code is for one, and another could not write into buffers
        # that were made in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            if (program := self._programs.get(key)) is not None:
                self._programs.move_to_end(key)
                return program.run(images, x_t, clock)
            if self._refusal:
                raise WrongDepthError(self._refusal)
            if len(self._programs) >= MAX_PROGRAMS:
                self._programs.popitem(last=False)
            with self._compiler_settings():
                program = self._build(images, processing_area, x_t, timesteps)
                estimate = program.run(images, x_t, clock)
            self._compare(estimate, images, processing_area, x_t, timesteps)
            self._programs[key] = program
            return estimate

    def _build(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
    ) -> Program:
        networks = self._networks
        if "attention" not in self._facts:
            self._choose_attention(x_t)
        schedule = networks.schedule(timesteps, *x_t.shape[-2:])
        if self._capture is None:
            return CompiledProgram(networks, processing_area, schedule)
        return CapturedProgram(
            networks, images, processing_area, x_t, schedule, self._uploader, self._capture
        )

    @contextmanager
    def _compiler_settings(self) -> Iterator[None]:
        with (
            torch._dynamo.config.patch({_limit_name(torch._dynamo.config): _RECOMPILE_LIMIT}),
            torch._inductor.config.patch(freezing=is_small(self._networks)),
        ):
            yield

    def _compare(
        self,
        estimate: Estimate,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
    ) -> None:
        """Refuse a depth that is not the plain path's, now and from now on.

        It is done here and not when the pipeline is loaded: this very program is what will run,
        and another size would have to be compiled for nothing else.
        """
        clock = StageClock(x_t.device)
        try:
            expected = self._plain.estimate(images, processing_area, x_t, timesteps, clock)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._facts["difference from eager"] = "not measured: memory is not enough for it"
            return
        difference = relative_error(estimate.relative_depth, expected.relative_depth)
        dtype = FLOAT8 if is_float8(self._networks.models) else self._networks.dtype
        tolerance = DEPTH_TOLERANCE[dtype]
        self.largest_error = max(self.largest_error, difference)
        self._facts["difference from eager"] = f"{self.largest_error:.2g}"
        if difference > tolerance:
            self._refusal = (
                f"backend graph gives another depth than eager here: the relative difference is "
                f"{difference:.2g}, rounding of {str(dtype).removeprefix('torch.')} explains "
                f"{tolerance:.2g}; choose backend eager"
            )
            raise WrongDepthError(self._refusal)

    def _choose_attention(self, x_t: Tensor) -> None:
        """Give SP-DiT the kernel that is fastest here, for its fine tokens."""
        networks = self._networks
        model = networks.config.model
        tokens = x_t.shape[-2] * x_t.shape[-1] // FINE_PATCH_PX**2
        shape = len(x_t), model.num_heads, tokens, model.hidden_size // model.num_heads
        candidates = kernels(networks.device, networks.dtype)
        choice = fastest_kernel(candidates, shape, networks.device, networks.dtype)
        for module in networks.dit.modules():
            if isinstance(module, Attention):
                module.kernel = choice.kernel
        measured = ", ".join(f"{name} {1e3 * s:.3g} ms" for name, s in choice.seconds.items())
        self._facts["attention"] = f"{choice.name} ({measured})" if measured else choice.name


def _why_not_fused() -> str:
    """What torch's compiler lacks here for CUDA; nothing where it can do its work."""
    from torch.utils._triton import has_triton  # torch itself does not import it

    if not has_triton():
        return "Triton is not installed, or not for this GPU"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton finds no C compiler: install gcc"
    if not Path(sysconfig.get_config_var("INCLUDEPY") or "", "Python.h").exists():
        return "Triton finds no Python.h: install python3-dev"
    return ""


def _limit_name(config: object) -> str:
    """What torch's compiler calls its limit: before torch 2.7 otherwise."""
    return "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"


def _keep_compiled() -> dict[str, str]:
    """Keep what is compiled on disk, or say why not: it is only slower without."""
    try:
        keep_compiled()
    except OSError as error:
        return {"compiled kernels": f"not kept: {error}"}
    return {}


def compile_networks(networks: Networks) -> None:
    """Put compiled functions in the place of the networks'; they compile when first called.

    Raises:
        ValueError: there is no C++ compiler, which torch's needs on a CPU.
    """
    if networks.device.type == "cpu":
        require_cpp_compiler("backend graph on the CPU")
    if is_small(networks):
        networks.denoise = torch.compile(networks.denoise, dynamic=False)
        if networks.prompt is not None:
            networks.prompt = torch.compile(networks.prompt, dynamic=False)
        return
    for blocks in alike_blocks(networks.models):
        for block in blocks:
            block.compile(dynamic=False)


def is_small(networks: Networks) -> bool:
    """Whether the networks are compiled as wholes, their weights prepacked."""
    parameters = sum(p.numel() for p in networks.models.parameters())
    return networks.device.type == "cpu" and parameters <= SMALL_PARAMETERS
