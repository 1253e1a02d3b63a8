"""Every parameter of the node: its default, its bounds, what it means, and the config it becomes.

Defaults are read from `ppd_core.config`; `config/ppd.yaml` repeats them for the reader, and a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.config import COARSE_PATCH_PX, PRESETS, PreprocessConfig, SamplerConfig
from ppd_core.device import DTYPES
from ppd_core.types import Alignment

AUTO = "auto"
ALIGNMENT_SOURCES = ("none", "constant")
DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
DEFAULT_MODEL = next(iter(PRESETS))


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter: what a user sees of it.

    Args:
        name, default, description: as `ros2 param describe` shows them.
        bounds: the smallest and largest value of a number, or None.
        choices: the values that a text may have, or empty for any.
        is_fixed_by_configure: refuse changes while a model is loaded, which they would not reach.
        is_read_only: refuse all changes after start-up.
    """

    name: str
    default: bool | int | float | str
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    is_fixed_by_configure: bool = False
    is_read_only: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """The description and the bounds as ROS carries them."""
        result = ParameterDescriptor(name=self.name, description=self.description)
        result.read_only = self.is_read_only
        if self.choices:
            result.additional_constraints = f"one of {', '.join(self.choices)}"
        if self.is_fixed_by_configure:
            result.description += " Can change only while the node is unconfigured."
        if self.bounds:
            low, high = self.bounds
            if isinstance(self.default, int):
                result.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
            else:
                result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return result

    def check(self, value: Any) -> None:
        """Raise ValueError unless `value` is within bounds and choices."""
        if self.choices and value not in self.choices:
            raise ValueError(
                f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}"
            )
        if self.bounds and not self.bounds[0] <= value <= self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"{self.name} must be in [{low}, {high}], got {value}")


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
    ParameterSpec(
        "alignment.source",
        "none",
        "What ties depth to metres; none: depth is relative (about 0..1) and NOT in metres; "
        "constant: relative 0 is near_m away and 1 is far_m.",
        choices=ALIGNMENT_SOURCES,
    ),
    ParameterSpec(
        "alignment.near_m",
        0.5,
        "Metres at relative depth 0, for alignment.source constant. Less than far_m.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "alignment.far_m",
        10.0,
        "Metres at relative depth 1, for alignment.source constant. More than near_m.",
        bounds=(0.0, 1000.0),
    ),
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
        alignment: None when depth stays relative.
    """

    sampler: SamplerConfig
    preprocess: PreprocessConfig
    alignment: Alignment | None
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
    return {spec.name: node.get_parameter(spec.name).value for spec in SPECS}


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
        ValueError: a value is out of bounds, or near_m and far_m do not fit each other.
    """
    _check(values)
    constant = alignment_from_range(values["alignment.near_m"], values["alignment.far_m"])
    return FrameSettings(
        sampler=SamplerConfig(num_steps=values["num_steps"]),
        preprocess=PreprocessConfig(processing_area=values["processing_area"]),
        alignment=constant if values["alignment.source"] == "constant" else None,
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
        if spec.is_fixed_by_configure and is_configured and change.value != values[spec.name]:
            raise ValueError(f"{spec.name} can change only while unconfigured: clean up first")
        values[spec.name] = change.value
    model_settings(values)
    return frame_settings(values)


def _own_area(model: str) -> int:
    """The area that a preset was made for; that of the published models for a checkpoint."""
    return PRESETS.get(model, PRESETS[DEFAULT_MODEL]).preprocess.processing_area


def _check(values: Mapping[str, Any]) -> None:
    for spec in SPECS:
        spec.check(values[spec.name])
