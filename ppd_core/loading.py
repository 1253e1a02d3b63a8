"""The networks of a pipeline, from files or at random, with the weights on their device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ppd_core import weights
from ppd_core.config import PRESETS, PipelineConfig, config_from_json, config_to_json, preset
from ppd_core.device import FLOAT8, compute_dtype
from ppd_core.models import build_models
from ppd_core.models.float8 import is_float8, to_float8


@dataclass(frozen=True, eq=False)
class Loaded:
    """Networks, and what is known of them.

    Attributes:
        models: as `build_models` makes them, with weights.
        is_trained: False for weights that nobody trained.
        seconds: what it took: "build" the networks, and bring the "weights" to their device.
    """

    config: PipelineConfig
    models: nn.ModuleDict
    is_trained: bool
    seconds: Mapping[str, float] = field(default_factory=dict)


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
