"""The networks of a pipeline, from files or at random, with the weights on their device."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from ppd_core import weights
from ppd_core.config import PRESETS, PipelineConfig, config_from_json, config_to_json, preset
from ppd_core.device import FLOAT8, compute_dtype, resolve_dtype
from ppd_core.models import build_models
from ppd_core.models.float8 import is_float8, to_float8
from ppd_core.networks import Networks
from ppd_core.precision import LOW, largest_deviation

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Networks, and what is known of them.

    Attributes:
        models: as `build_models` makes them, with weights.
        is_trained: False for weights that nobody trained.
        seconds: what it took: "build" the networks, and bring the "weights" to their device; where
            it was done, "check" the dtype.
        fallback: why the dtype is not the default one, or "".
    """

    config: PipelineConfig
    models: nn.ModuleDict
    is_trained: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
    fallback: str = ""


def load_checked(
    load: Callable[[torch.dtype], Loaded],
    dtype: torch.dtype | None,
    device: torch.device,
    backend: str,
) -> Loaded:
    """Networks in a dtype that this device computes rightly; see `precision`.

    Args:
        load: makes them in a dtype, on the device.
        dtype: None is the default of device and backend, and float32 where that is wrong.

    Raises:
        ValueError: the dtype that was asked for cannot be, or is computed wrongly here.
    """
    chosen = resolve_dtype(dtype, device, backend)
    loaded = load(chosen)
    if chosen not in LOW:
        return loaded
    start_s = time.perf_counter()
    deviation = largest_deviation(Networks(loaded.config, loaded.models))
    seconds = {**loaded.seconds, "check": time.perf_counter() - start_s}
    if deviation.is_explained:
        return replace(loaded, seconds=seconds)
    wrong = f"{str(chosen).removeprefix('torch.')} is computed wrongly on this {device.type}"
    if dtype is not None:
        raise ValueError(f"dtype {wrong}: {deviation}; choose dtype float32")
    fallback = f"float32 is taken in place of what is faster: {wrong}: {deviation}"
    _log.warning("%s", fallback)
    del loaded
    return replace(load(torch.float32), seconds=seconds, fallback=fallback)


def load(
    name_or_path: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    weights_dir: str | Path | None,
    *,
    download: bool,
) -> Loaded:
    """See `DepthPipeline.from_pretrained`."""
    loaded = _load(name_or_path, device, compute_dtype(dtype), weights_dir, download=download)
    return _converted(loaded, dtype)


def _load(
    name_or_path: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    weights_dir: str | Path | None,
    *,
    download: bool,
) -> Loaded:
    start_s = time.perf_counter()
    if str(name_or_path) not in PRESETS:
        path = Path(name_or_path).expanduser()
        if path.exists() or path.suffix or len(path.parts) > 1:
            return _from_checkpoint(path, device, dtype)
    config = preset(str(name_or_path))
    if (packaged := weights.packaged_checkpoint(str(name_or_path))) is not None:
        return _from_checkpoint(packaged, device, dtype)
    if not config.weights:
        return build_random(config, device, dtype)
    models, build_s = _empty_models(config)
    for name, module in zip(config.weights, models.values(), strict=True):
        weights.load_published(
            name, module, weights_dir, download=download, dtype=dtype, device=device
        )
    return Loaded(config, models, True, _seconds(start_s, build_s))


def build_random(
    config: PipelineConfig, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> Loaded:
    """Random weights, the same for the same seed."""
    start_s = time.perf_counter()
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # manual_seed would reach CUDA's, too
        models = build_models(config)
    build_s = time.perf_counter() - start_s
    models = models.to(device=device, dtype=compute_dtype(dtype))
    return _converted(Loaded(config, models, False, _seconds(start_s, build_s)), dtype)


def _converted(loaded: Loaded, dtype: torch.dtype) -> Loaded:
    if dtype == FLOAT8:
        to_float8(loaded.models)
    return loaded


def save(path: str | Path, loaded: Loaded) -> None:
    """Write config and weights to one .safetensors file that `load` reads.

    Raises:
        ValueError: the weights are rounded to float8.
    """
    if is_float8(loaded.models):
        raise ValueError(
            "weights to save must be as they were loaded, got some rounded to float8; "
            "load them in bfloat16 or float32, and save that"
        )
    metadata = {
        "ppd_config": config_to_json(loaded.config),
        "is_trained": "true" if loaded.is_trained else "false",
    }
    weights.save_checkpoint(path, loaded.models.state_dict(), metadata)


def _empty_models(config: PipelineConfig) -> tuple[nn.ModuleDict, float]:
    """Networks that wait for their weights, and the seconds that it took."""
    start_s = time.perf_counter()
    with torch.device("meta"):
        models = build_models(config)
    return models, time.perf_counter() - start_s


def _seconds(start_s: float, build_s: float) -> dict[str, float]:
    return {"build": build_s, "weights": time.perf_counter() - start_s - build_s}


def _from_checkpoint(path: Path, device: torch.device, dtype: torch.dtype) -> Loaded:
    start_s = time.perf_counter()
    tensors, metadata = weights.read_checkpoint(path, dtype=dtype, device=device)
    if "ppd_config" not in metadata:
        raise weights.WeightsError(
            f"{path} must be a checkpoint written by save_pretrained or by "
            "`ppd weights convert` of a preset, got a file without a config in its metadata"
        )
    try:
        config = config_from_json(metadata["ppd_config"])
    except ValueError as error:
        raise weights.WeightsError(f"{path} has an unusable config: {error}") from error
    models, build_s = _empty_models(config)
    weights.load_strict(models, tensors, dtype=dtype, device=device)
    is_trained = metadata.get("is_trained") != "false"
    return Loaded(config, models, is_trained, _seconds(start_s, build_s))
