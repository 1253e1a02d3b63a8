"""The parameters `alignment.*`: what ties depth to metres, and what is done when nothing does.

Defaults are read from `ppd_core.alignment.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.config import ON_FAILURE, SOURCES, AlignmentConfig
from ppd_core.types import Alignment
from ppd_ros.parameter_spec import ParameterSpec

CONFIG = AlignmentConfig()

SPECS = (
    ParameterSpec(
        "alignment.source",
        "none",
        "What ties depth to metres; none: depth is relative (about 0..1) and NOT in metres; "
        "constant: relative 0 is near_m away and 1 is far_m; depth: the depth image on depth_in; "
        "lidar: the cloud on lidar_in, through tf2; moge2: the model ppd-moge2 itself.",
        choices=SOURCES,
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
        "alignment.on_failure",
        "drop",
        "What becomes of a frame that nothing ties to metres; drop: it is not published; nan: its "
        "depth and points are NaN; relative: they are relative, NOT in metres. ~/alignment tells "
        "of it in each case.",
        choices=tuple(ON_FAILURE),
    ),
    ParameterSpec(
        "alignment.hold_s",
        CONFIG.hold_s,
        "For how many seconds the last good metres are carried on when a frame's samples cannot "
        "be trusted.",
        bounds=(0.0, 60.0),
    ),
    ParameterSpec(
        "alignment.track",
        CONFIG.is_tracked,
        "Steady the scale over time; off: each frame is fitted alone.",
    ),
    ParameterSpec(
        "alignment.field",
        CONFIG.has_field,
        "Follow the sensor locally on surfaces, beyond one scale and shift for the whole image.",
    ),
    ParameterSpec(
        "alignment.surfaces",
        CONFIG.has_surfaces,
        "Settle each pixel on one of the surfaces that sensor and model see around it, by a small "
        "network: the field, clean borders, holes filled from the right side.",
    ),
    ParameterSpec(
        "alignment.min_confidence",
        0.0,
        "Metres with less confidence are NaN in all outputs.",
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "alignment.depth_unit_m",
        CONFIG.depth_unit_m,
        "Metres that one unit of a depth image is, such as 0.0001 for 0.1 mm; 0: as its encoding "
        "has it: 0.001 in 16UC1, 1 in 32FC1.",
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "alignment.min_depth_m",
        CONFIG.min_depth_m,
        "Samples nearer than this are not used. Less than max_depth_m.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "alignment.max_depth_m",
        CONFIG.max_depth_m,
        "Samples farther than this are not used. More than min_depth_m.",
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "alignment.min_inlier_ratio",
        CONFIG.min_inlier_ratio,
        "A fit that fewer of the samples agree with is not trusted.",
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "alignment.min_edge_correlation",
        CONFIG.min_edge_correlation,
        "A depth image whose edges correlate less with the image's is not trusted: it shows "
        "something else, or is not registered.",
        bounds=(-1.0, 1.0),
    ),
    ParameterSpec(
        "alignment.max_slop_s",
        0.1,
        "How far apart the stamps of an image and of the sensor's message may be, in seconds.",
        bounds=(0.0, 10.0),
    ),
    ParameterSpec(
        "alignment.max_wait_s",
        0.1,
        "How long a frame waits for a sensor message that may still be on its way, in seconds.",
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "alignment.tf_timeout_s",
        0.1,
        "How long a frame waits for tf2 to know where the LiDAR was, in seconds.",
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "alignment.fixed_frame",
        "",
        "Frame that stands still (odom): what the robot moved between scan and image is then "
        "taken out of the cloud. Empty: the transform at the image's stamp.",
    ),
)


@dataclass(frozen=True)
class AlignmentSettings:
    """How frames are tied to metres.

    Attributes:
        source: one of `ppd_core.alignment.config.SOURCES`.
        constant: what source "constant" gives.
        config: when samples are trusted.
        on_failure: a key of `ON_FAILURE`.
        min_confidence: metres with less are published as NaN.
        max_slop_s, max_wait_s: of pairing an image with the sensor's message.
        tf_timeout_s: of looking up a transform.
        fixed_frame: frame that stands still, or "" for none.
    """

    source: str
    constant: Alignment
    config: AlignmentConfig
    on_failure: str
    min_confidence: float
    max_slop_s: float
    max_wait_s: float
    tf_timeout_s: float
    fixed_frame: str


def alignment_settings(values: Mapping[str, Any]) -> AlignmentSettings:
    """The settings that the parameters make.

    Args:
        values: parameter name -> value, within its own bounds.

    Raises:
        ValueError: two values do not fit each other.
    """
    given = {name.removeprefix("alignment."): value for name, value in values.items()}
    return AlignmentSettings(
        source=given["source"],
        constant=alignment_from_range(given["near_m"], given["far_m"]),
        config=AlignmentConfig(
            depth_unit_m=given["depth_unit_m"],
            min_depth_m=given["min_depth_m"],
            max_depth_m=given["max_depth_m"],
            min_inlier_ratio=given["min_inlier_ratio"],
            min_edge_correlation=given["min_edge_correlation"],
            has_field=given["field"],
            has_surfaces=given["surfaces"],
            hold_s=given["hold_s"],
            is_tracked=given["track"],
        ),
        on_failure=given["on_failure"],
        min_confidence=given["min_confidence"],
        max_slop_s=given["max_slop_s"],
        max_wait_s=given["max_wait_s"],
        tf_timeout_s=given["tf_timeout_s"],
        fixed_frame=given["fixed_frame"],
    )
