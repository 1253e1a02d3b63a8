"""Every parameter of the node, and the configs that they become.

Defaults are read from `ppd_core`'s configs; `config/ppd.yaml` repeats them for the reader, and a
test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from ppd_core.config import (
    COARSE_PATCH_PX,
    DEFAULT_PROFILE,
    PROFILES,
    PipelineConfig,
    PreprocessConfig,
    SamplerConfig,
)
from ppd_core.stream import WarmStartConfig
from ppd_core.types import IMAGE_KINDS
from ppd_ros import alignment_parameters, model_parameters, output_parameters
from ppd_ros.alignment_parameters import AlignmentSettings, alignment_settings
from ppd_ros.output_parameters import (
    OutputSettings,
    output_settings,
)
from ppd_ros.parameter_spec import ParameterSpec

MIN_AREA = COARSE_PATCH_PX**2
MAX_AREA = 16_000_000
BY_PROFILE = 0
"""Stands for the number of steps, or the area, that the profile has."""
PROFILE_TEXTS = {
    "fast": "half the steps at half the area",
    "balanced": "what the model was made for",
    "quality": f"{PROFILES['quality'].num_steps} steps",
}
IMAGE_TRANSPORTS = {
    "raw": "sensor_msgs/Image on the image topic",
    "compressed": "sensor_msgs/CompressedImage on the image topic with /compressed after it",
}
ON_OOM = {
    "stop": "the node goes back to inactive and says why",
    "shrink": "it is tried once more at half the processing_area, which then stays",
}

SPECS = (
    *model_parameters.SPECS,
    ParameterSpec(
        "image_transport",
        "raw",
        "; ".join(f"{name}: {what}" for name, what in IMAGE_TRANSPORTS.items()) + ".",
        choices=tuple(IMAGE_TRANSPORTS),
        is_fixed_by_configure=True,
    ),
    *(spec for spec in output_parameters.SPECS if spec.is_fixed_by_configure),
    ParameterSpec(
        "profile",
        DEFAULT_PROFILE,
        "What is spent on a frame; "
        + "; ".join(f"{name}: {PROFILE_TEXTS[name]}" for name in PROFILES)
        + ". num_steps and processing_area win over it where they are not 0.",
        choices=tuple(PROFILES),
    ),
    ParameterSpec(
        "num_steps",
        BY_PROFILE,
        "Sampling steps a frame: more is finer and slower; 0: as the profile says.",
        bounds=(BY_PROFILE, 1000),
    ),
    ParameterSpec(
        "processing_area",
        BY_PROFILE,
        f"Pixels at which the model works, keeping the image's proportions, {MIN_AREA} at least; "
        "0: as the profile says.",
        bounds=(BY_PROFILE, MAX_AREA),
    ),
    ParameterSpec(
        "quality.num_steps",
        BY_PROFILE,
        "Sampling steps of a frame that ~/estimate_once asks for; 0: as the profile quality says.",
        bounds=(BY_PROFILE, 1000),
    ),
    ParameterSpec(
        "quality.processing_area",
        BY_PROFILE,
        "Pixels at which the model works on a frame that ~/estimate_once asks for; 0: as the "
        "profile quality says.",
        bounds=(BY_PROFILE, MAX_AREA),
    ),
    ParameterSpec(
        "warm_start",
        False,
        "Begin a frame of the stream from the depth of the one before, if that is at most "
        f"{WarmStartConfig().max_gap_s:g} s older and not of another scene, and do the second "
        f"half of the steps; after {WarmStartConfig().max_warm_frames} such frames one begins "
        "from noise. Measure before you switch it on: num_steps halved costs the same.",
    ),
    ParameterSpec(
        "streaming",
        True,
        "Work on every frame that there is time for; off: on those alone that ~/estimate_once "
        "asks for.",
    ),
    ParameterSpec(
        "max_rate_hz",
        0.0,
        "Work on no more frames a second than this, to leave the GPU to others; 0: no limit.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "on_oom",
        "stop",
        "When the device's memory is not enough for a frame; "
        + "; ".join(f"{name}: {what}" for name, what in ON_OOM.items())
        + ".",
        choices=tuple(ON_OOM),
    ),
    ParameterSpec(
        "rectify",
        False,
        "Take the lens distortion out of the image first, and everything published is of the "
        "camera without it, which is not turned; off: points lie on the rays of the lens. Both "
        "are exact.",
    ),
    ParameterSpec(
        "image_kind",
        "auto",
        "What the image is beside its camera_info; "
        + "; ".join(f"{name}: {what}" for name, what in IMAGE_KINDS.items())
        + ".",
        choices=tuple(IMAGE_KINDS),
    ),
    *alignment_parameters.SPECS,
    *(spec for spec in output_parameters.SPECS if not spec.is_fixed_by_configure),
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
        "cameras",
        (),
        "Names of several cameras that share the model, such as [left, right]: each has inputs "
        "left/image ... and outputs ~/left/depth/image ... of its own. Empty: one camera without "
        "a name.",
        is_read_only=True,
    ),
    ParameterSpec(
        "autostart",
        True,
        "Configure and activate at start-up; off: wait for a lifecycle manager.",
        is_read_only=True,
    ),
)


@dataclass(frozen=True)
class Effort:
    """What the model spends on a frame; `BY_PROFILE` is as the profile has it."""

    num_steps: int = BY_PROFILE
    processing_area: int = BY_PROFILE
    profile: str = DEFAULT_PROFILE

    def __post_init__(self) -> None:
        if self.num_steps != BY_PROFILE:
            SamplerConfig(num_steps=self.num_steps)
        if self.processing_area != BY_PROFILE:
            PreprocessConfig(processing_area=self.processing_area)

    def num_steps_of(self, config: PipelineConfig) -> int:
        """The steps, where the model is of that config."""
        return self.num_steps or PROFILES[self.profile].num_steps_of(config)

    def processing_area_of(self, config: PipelineConfig) -> int:
        """The pixels, where the model is of that config."""
        return self.processing_area or PROFILES[self.profile].processing_area_of(config)


@dataclass(frozen=True)
class FrameSettings:
    """What may change from one frame to the next.

    Attributes:
        effort: of a frame of the stream.
        quality: of a frame that `~/estimate_once` asks for.
        is_warm_started: whether frames of the stream begin from the depth of those before.
        alignment: what ties depth to metres.
        output: what becomes of depth and points.
        max_age_s: None when frames of any age are welcome.
        is_streaming: whether frames are worked on that nobody asked for.
        min_period_s: from the start of one frame to that of the next; 0 = no limit.
        is_shrinking: go on with a smaller area when memory is not enough, else stop.
        is_rectified: take the lens distortion out of the image first.
        image_kind: a key of `IMAGE_KINDS`: what the image is before that.
    """

    effort: Effort
    quality: Effort
    is_warm_started: bool
    alignment: AlignmentSettings
    output: OutputSettings
    max_age_s: float | None
    is_streaming: bool
    min_period_s: float
    is_shrinking: bool
    is_rectified: bool
    image_kind: str


def declare(node: Node) -> FrameSettings:
    """Declare all parameters on a node; given values (command line, YAML) win over defaults.

    Returns:
        The settings that they make.

    Raises:
        rclpy.exceptions.ParameterException: a given value has the wrong type or is out of range.
        ValueError: a given value is not usable for another reason.
    """
    for spec in SPECS:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())
    values = current_values(node)
    settings = frame_settings(values)
    camera_names(values)
    return settings


def current_values(node: Node) -> dict[str, Any]:
    """Parameter name -> its value now."""
    return {spec.name: spec.read(node.get_parameter(spec.name).value) for spec in SPECS}


def camera_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the cameras; one that is empty where there is one camera alone.

    Raises:
        ValueError: two are alike, or one cannot be a part of a topic's name.
    """
    names = tuple(name for name in values["cameras"] if name)
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII)):
            raise ValueError(f"cameras must be names of letters, digits and _, got {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"cameras must differ from each other, got {', '.join(names)}")
    return names or ("",)


def frame_settings(values: Mapping[str, Any]) -> FrameSettings:
    """How to treat a frame.

    Raises:
        ValueError: a value is out of bounds, or two do not fit each other.
    """
    _check(values)
    max_rate_hz = values["max_rate_hz"]
    return FrameSettings(
        effort=_effort(values, "", values["profile"]),
        quality=_effort(values, "quality.", "quality"),
        is_warm_started=values["warm_start"],
        alignment=alignment_settings(values),
        output=output_settings(values),
        max_age_s=values["max_age_s"] if values["drop_stale"] else None,
        is_streaming=values["streaming"],
        min_period_s=1 / max_rate_hz if max_rate_hz > 0 else 0.0,
        is_shrinking=values["on_oom"] == "shrink",
        is_rectified=values["rectify"],
        image_kind=values["image_kind"],
    )


def _effort(values: Mapping[str, Any], prefix: str, profile: str) -> Effort:
    return Effort(values[f"{prefix}num_steps"], values[f"{prefix}processing_area"], profile)


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
    return frame_settings(values)


def _check(values: Mapping[str, Any]) -> None:
    for spec in SPECS:
        spec.check(values[spec.name])
