"""The fast path: what depends on times and size kept, fused kernels, on CUDA one graph a frame.

On a CPU, torch's compiler fuses what lies between the matrix products, and prepacks the weights
of small networks. On CUDA it fuses, too, and the whole of a frame, from the camera's pixels to
relative depth, is recorded once for each size, count of images and times, and then replayed.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ppd_core.backends.capture import Capture, CudaCapture
from ppd_core.backends.programs import CapturedProgram, Program, WarmProgram
from ppd_core.compile_cache import keep_compiled
from ppd_core.config import FINE_PATCH_PX
from ppd_core.cpp_compiler import require_cpp_compiler
from ppd_core.device import StageClock
from ppd_core.models.attention import fastest_kernel, kernels
from ppd_core.models.layers import Attention
from ppd_core.networks import Estimate, Networks
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
        networks: are changed: their attention kernel, and what is compiled of them.

    Raises:
        ValueError: see `compile_networks`.
    """

    name = "graph"

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._programs: OrderedDict[object, Program] = OrderedDict()
        self._facts: dict[str, str] = {}
        self._uploader = Uploader(networks.device)
        is_cuda = networks.device.type == "cuda"
        self._capture: Capture | None = CudaCapture(networks.device) if is_cuda else None
        if is_cuda and (reason := _why_not_fused()):
            # The graph alone is worth having.
            self._facts["fusion"] = f"none: {reason}"
        else:
            self._facts |= _keep_compiled()
            compile_networks(networks)

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
        """See `Backend.estimate`."""
        sizes = tuple(image.shape[:2] for image in images)
        key = sizes, processing_area, tuple(x_t.shape), tuple(timesteps)
        # Always the same mode: compiled code is for one, and another could not write into buffers
        # that were made in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            if key not in self._programs:
                if len(self._programs) >= MAX_PROGRAMS:
                    self._programs.popitem(last=False)
                self._programs[key] = self._build(images, processing_area, x_t, timesteps)
            self._programs.move_to_end(key)
            return self._programs[key].run(images, x_t, clock)

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
        with (
            torch._dynamo.config.patch({_limit_name(torch._dynamo.config): _RECOMPILE_LIMIT}),
            torch._inductor.config.patch(freezing=is_small(networks)),
        ):
            if self._capture is None:
                return WarmProgram(networks, images, processing_area, x_t, schedule)
            return CapturedProgram(
                networks, images, processing_area, x_t, schedule, self._uploader, self._capture
            )

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
    for model in networks.models.values():
        for blocks in model.modules():
            if isinstance(blocks, nn.ModuleList | nn.Sequential) and _are_alike(blocks):
                for block in blocks:
                    block.compile(dynamic=False)


def is_small(networks: Networks) -> bool:
    """Whether the networks are compiled as wholes, their weights prepacked."""
    parameters = sum(p.numel() for p in networks.models.parameters())
    return networks.device.type == "cpu" and parameters <= SMALL_PARAMETERS


def _are_alike(blocks: nn.ModuleList | nn.Sequential) -> bool:
    """Whether these are a transformer's blocks: many of one class, each with parts of its own."""
    kinds = {type(block) for block in blocks}
    return len(blocks) > 1 and len(kinds) == 1 and hasattr(blocks[0], "attn")
