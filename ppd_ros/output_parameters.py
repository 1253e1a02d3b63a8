"""The parameters of what is published: `publish.*`, `range.*`, `points.*` and `rs_compat`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppd_ros.parameter_spec import ParameterSpec

SPECS = (
    ParameterSpec(
        "publish.image_raw",
        True,
        "Offer ~/depth/image_raw (16UC1, millimetres). What nobody subscribes to costs nothing.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "publish.compressed_depth",
        True,
        "Offer ~/depth/image_raw/compressedDepth, for a network.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "publish.image_color",
        True,
        "Offer ~/depth/image_color, a picture of the depth for people.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "publish.confidence",
        True,
        "Offer ~/depth/confidence (32FC1, 0 to 1), how probable it is that a pixel's metres are "
        "within 3 % of the truth.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "publish.rgb",
        True,
        "Offer ~/rgb/image, the very image that the depth was made of.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "rs_compat",
        False,
        "Name the outputs as realsense-ros does, in the node's namespace: "
        "aligned_depth_to_color/image_raw (16UC1), aligned_depth_to_color/camera_info, "
        "depth/color/points.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "range.min_m",
        0.0,
        "What is nearer is too near: -Inf in ~/depth/image, no point. Less than range.max_m. "
        "Metres alone have a range, relative depth has none.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "range.max_m",
        1000.0,
        "What is farther is beyond the range: +Inf in ~/depth/image, no point.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "points.organized",
        True,
        "Keep the image's rows and columns in the cloud, NaN where invalid; off: one row of the "
        "valid points.",
    ),
    ParameterSpec(
        "points.decimation",
        1,
        "Every n-th row and column of the image becomes points.",
        bounds=(1, 64),
    ),
)


@dataclass(frozen=True)
class TopicSettings:
    """Which topics are offered, and by which names.

    Attributes:
        left_out: the outputs that are not offered.
        is_rs_compat: named as realsense-ros does.
    """

    left_out: frozenset[str]
    is_rs_compat: bool


@dataclass(frozen=True)
class OutputSettings:
    """What becomes of depth and points of a frame.

    Attributes:
        min_m, max_m: metres outside are too near or beyond the range.
        is_organized: keep the rows and columns of the cloud.
        decimation: every n-th row and column is in the cloud.
    """

    min_m: float
    max_m: float
    is_organized: bool
    decimation: int

    def __post_init__(self) -> None:
        if not self.min_m < self.max_m:
            raise ValueError(
                f"range.min_m must be less than range.max_m, got {self.min_m:g} and {self.max_m:g}"
            )


def topic_settings(values: Mapping[str, Any]) -> TopicSettings:
    """What the parameters say of the topics."""
    prefix = "publish."
    optional = {name.removeprefix(prefix): v for name, v in values.items() if prefix in name}
    left_out = frozenset(name for name, is_offered in optional.items() if not is_offered)
    return TopicSettings(left_out, values["rs_compat"])


def output_settings(values: Mapping[str, Any]) -> OutputSettings:
    """What the parameters say of each frame's outputs.

    Raises:
        ValueError: two values do not fit each other.
    """
    return OutputSettings(
        min_m=values["range.min_m"],
        max_m=values["range.max_m"],
        is_organized=values["points.organized"],
        decimation=values["points.decimation"],
    )
