"""Every parameter of the node, and the configs that they become.

Defaults are read from `ppd_core`'s configs; `config/ppd.yaml` repeats them for the reader, and a
test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rclpy.node import Node
from rclpy.parameter import Parameter

from ppd_core.config import COARSE_PATCH_PX, PRESETS, PreprocessConfig, SamplerConfig
from ppd_core.device import DTYPES
from ppd_ros import alignment_parameters
from ppd_ros.alignment_parameters import AlignmentSettings, alignment_settings
from ppd_ros.parameter_spec import ParameterSpec

AUTO = "auto"
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
DEFAULT_MODEL = next(iter(PRESETS))

SPECS = (
    ParameterSpec(
        "model",
        DEFAULT_MODEL,
        f"A preset ({', '.join(PRESETS)}; tiny is untrained) or the path of a checkpoint.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "weights_dir",
        "",
        "Folder of the published weight files; empty: $PPD_WEIGHTS_DIR, else the user's cache.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "device",
        AUTO,
        "Where the model runs: auto (CUDA if there is any, else the CPU), cpu, cuda, cuda:1 ...",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "dtype",
        AUTO,
        "Number format of the model; auto: float32 on the CPU, bfloat16 on CUDA (float16 before "
        "Ampere).",
        choices=(AUTO, *DTYPE_NAMES),
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "num_steps",
        SamplerConfig().num_steps,
        "Sampling steps a frame: more is finer and slower.",
        bounds=(1, 1000),
    ),
    ParameterSpec(
        "processing_area",
        PreprocessConfig().processing_area,
        "Pixels at which the model works, keeping the image's proportions. Default: "
        "what the preset was made for.",
        bounds=(COARSE_PATCH_PX**2, 16_000_000),
    ),
    *alignment_parameters.SPECS,
    ParameterSpec(
        "drop_stale",
        True,
        "Drop frames older than max_age_s. Switch off for recordings played without their clock.",
    ),
    ParameterSpec(
        "max_age_s",
        1.0,
        "Largest age of a frame, stamp to start of work, in seconds; see drop_stale.",
        bounds=(0.001, 3600.0),
    ),
    ParameterSpec(
        "points.organized",
        True,
        "Keep the image's rows and columns in the cloud, NaN where invalid; off: one row of the "
        "valid points.",
    ),
    ParameterSpec(
        "autostart",
        True,
        "Configure and activate at start-up; off: wait for a lifecycle manager.",
        is_read_only=True,
    ),
)


@dataclass(frozen=True)
class ModelSettings:
    """What `DepthPipeline.from_pretrained` is asked for; None is its own default."""

    model: str
    weights_dir: Path | None
    device: str | None
    dtype: torch.dtype | None


@dataclass(frozen=True)
class FrameSettings:
    """What may change from one frame to the next.

    Attributes:
        max_age_s: None when frames of any age are welcome.
        alignment: what ties depth to metres.
    """

    sampler: SamplerConfig
    preprocess: PreprocessConfig
    alignment: AlignmentSettings
    max_age_s: float | None
    is_organized: bool


def declare(node: Node) -> FrameSettings:
    """Declare all parameters on a node; given values (command line, YAML) win over defaults.

    Returns:
        The settings that they make.

    Raises:
        rclpy.exceptions.ParameterException: a given value has the wrong type or is out of range.
        ValueError: a given value is not usable for another reason.
    """
    for spec in SPECS:
        default = spec.default
        if spec.name == "processing_area":
            default = _own_area(node.get_parameter("model").value)
        node.declare_parameter(spec.name, default, spec.descriptor())
    values = current_values(node)
    model_settings(values)
    return frame_settings(values)


def current_values(node: Node) -> dict[str, Any]:
    """Parameter name -> its value now."""
    return {spec.name: spec.read(node.get_parameter(spec.name).value) for spec in SPECS}


def model_settings(values: Mapping[str, Any]) -> ModelSettings:
    """What to load.

    Raises:
        ValueError: a value is not one of the choices.
    """
    _check(values)
    return ModelSettings(
        model=values["model"],
        weights_dir=Path(values["weights_dir"]).expanduser() if values["weights_dir"] else None,
        device=None if values["device"] == AUTO else values["device"],
        dtype=DTYPE_NAMES.get(values["dtype"]),
    )


def frame_settings(values: Mapping[str, Any]) -> FrameSettings:
    """How to treat a frame.

    Raises:
        ValueError: a value is out of bounds, or two do not fit each other.
    """
    _check(values)
    return FrameSettings(
        sampler=SamplerConfig(num_steps=values["num_steps"]),
        preprocess=PreprocessConfig(processing_area=values["processing_area"]),
        alignment=alignment_settings(values),
        max_age_s=values["max_age_s"] if values["drop_stale"] else None,
        is_organized=values["points.organized"],
    )


def changed_settings(
    node: Node, changes: Iterable[Parameter], *, is_configured: bool
) -> FrameSettings:
    """The settings after a set of changes; parameters that are not of this module are ignored.

    Args:
        changes: as rclpy hands them to an on-set callback.
        is_configured: whether a model is loaded now.

    Raises:
        ValueError: why the changes cannot be made.
    """
    values = current_values(node)
    specs = {spec.name: spec for spec in SPECS}
    for change in changes:
        spec = specs.get(change.name)
        if spec is None:
            continue
        value = spec.read(change.value)
        if spec.is_fixed_by_configure and is_configured and value != values[spec.name]:
            raise ValueError(f"{spec.name} can change only while unconfigured: clean up first")
        values[spec.name] = value
    model_settings(values)
    return frame_settings(values)


def _own_area(model: str) -> int:
    """The area that a preset was made for; that of the published models for a checkpoint."""
    return PRESETS.get(model, PRESETS[DEFAULT_MODEL]).preprocess.processing_area


def _check(values: Mapping[str, Any]) -> None:
    for spec in SPECS:
        spec.check(values[spec.name])
