"""Whether the networks give the right depth here, in every precision and by every backend."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from ppd_core.backends import BACKENDS, build_backend
from ppd_core.backends.graph import GraphBackend
from ppd_core.device import DTYPES, cpu_has_bfloat16, is_out_of_memory, resolve_dtype
from ppd_core.loading import Loaded, load
from ppd_core.networks import Networks
from ppd_core.pipeline import DepthPipeline
from ppd_core.precision import (
    DEPTH_TOLERANCE,
    LOW,
    WrongDepthError,
    check_input,
    largest_deviation,
    relative_error,
)
from ppd_core.registry import WeightsError

DTYPE_NAMES = ("float32", "bfloat16", "float16", "float8")
SIZE = (96, 128)
"""(height, width) of the picture, and at model size: small, for compiling takes long enough."""
TIMED_FRAMES = 3

OK, WRONG, CANNOT = "ok", "WRONG", "not here"


@dataclass(frozen=True)
class Examined:
    """One way of running the networks.

    Attributes:
        name: "cpu.bfloat16.graph": device, dtype, backend.
        status: `OK`; `WRONG`: it computes something else, or fails; `CANNOT`: what it needs is not
            on this machine.
        error, bound: what `precision` measured, and what rounding explains; of half precision by
            eager, the worst of its operations; of graph, the depth beside eager's.
        depth_error: of the depth, relative to that in float32 by eager.
        ms: of a frame, the median.
        start_s: of the first frame.
        why: what was measured where it is wrong, or what is missing.
    """

    name: str
    status: str
    error: float | None = None
    bound: float | None = None
    depth_error: float | None = None
    ms: float | None = None
    start_s: float | None = None
    why: str = ""


def examine(
    model: str,
    device: torch.device,
    *,
    backends: Sequence[str] | None = None,
    weights_dir: Path | None = None,
) -> Iterator[Examined]:
    """Run a model in every precision by every backend, and look at what comes out.

    Args:
        model: as `DepthPipeline.from_pretrained` takes it, but for packages.
        device: where.
        backends: of `backends.BACKENDS`; None is all, but on a CPU graph only in the precisions
            that it has units for: to compile takes minutes, and nobody runs the others so.
        weights_dir: see `registry.weights_dir`; nothing is downloaded.

    Raises:
        WeightsError: the model is not here.
    """
    plain_depth: torch.Tensor | None = None
    for dtype_name in DTYPE_NAMES:
        dtype = DTYPES[dtype_name]
        tried = _worth_trying(device, dtype) if backends is None else backends
        names = [f"{device}.{dtype_name}.{backend}".replace(":", ".") for backend in tried]
        try:
            resolve_dtype(dtype, device)
            loaded = load(model, device, dtype, weights_dir, download=False)
        except WeightsError:
            raise
        except ValueError as error:
            yield from (Examined(name, CANNOT, why=str(error)) for name in names)
            continue
        except Exception as error:
            yield from (_failed(name, error) for name in names)
            continue
        for name, backend in zip(names, tried, strict=True):
            try:
                examined, depth = _examine_one(name, loaded, dtype, backend, plain_depth)
            except WrongDepthError as error:
                examined, depth = Examined(name, WRONG, why=str(error)), None
            except ValueError as error:
                examined, depth = Examined(name, CANNOT, why=str(error)), None
            except Exception as error:
                examined, depth = _failed(name, error), None
            if plain_depth is None and depth is not None:
                plain_depth = depth
            yield examined


def _worth_trying(device: torch.device, dtype: torch.dtype) -> Sequence[str]:
    has_units = dtype == torch.float32 or (dtype == torch.bfloat16 and cpu_has_bfloat16())
    return tuple(BACKENDS) if device.type == "cuda" or has_units else ("eager",)


def _failed(name: str, error: Exception) -> Examined:
    """What raised; the machine's memory is no fault of it."""
    status = CANNOT if is_out_of_memory(error) else WRONG
    lines = str(error).strip().splitlines() or [""]
    return Examined(name, status, why=f"{type(error).__name__}: {lines[0]}")


def _examine_one(
    name: str, loaded: Loaded, dtype: torch.dtype, backend: str, plain_depth: torch.Tensor | None
) -> tuple[Examined, torch.Tensor]:
    networks = Networks(loaded.config, loaded.models)
    error, bound, why = 0.0, DEPTH_TOLERANCE[dtype], ""
    if backend == "eager" and dtype in LOW:
        deviation = largest_deviation(networks)
        error, bound = deviation.error, deviation.bound
        why = "" if deviation.is_explained else str(deviation)
    built = build_backend(networks, backend)
    pipeline = DepthPipeline(loaded.config, loaded.models, backend=built)
    start_s, _ = _timed_frame(pipeline)
    seconds, depths = zip(*(_timed_frame(pipeline) for _ in range(TIMED_FRAMES)), strict=True)
    if isinstance(built, GraphBackend):
        error = built.largest_error
    examined = Examined(
        name,
        WRONG if why else OK,
        error,
        bound,
        0.0 if plain_depth is None else relative_error(depths[0], plain_depth),
        1e3 * median(seconds),
        start_s,
        why,
    )
    return examined, depths[0]


def _timed_frame(pipeline: DepthPipeline) -> tuple[float, torch.Tensor]:
    height, width = SIZE
    picture = (255 * check_input(height, width)[0][0].permute(1, 2, 0)).byte().numpy()
    start_s = time.perf_counter()
    result = pipeline(np.ascontiguousarray(picture), processing_area=height * width)
    depth = result.relative_depth_model.float().cpu()  # waits for the device
    return time.perf_counter() - start_s, depth
