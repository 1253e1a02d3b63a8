"""The message types of a recording: those of ROS 2 Jazzy and our own."""

from __future__ import annotations

from typing import Any

ALIGNMENT_TYPE = "ppd_ros/msg/Alignment"
ALIGNMENT_DEFINITION = """\
string STATE_NONE=none
string STATE_CONSTANT=constant
string STATE_FITTED=fitted
string STATE_TIED=tied
string STATE_HELD=held
string STATE_LOST=lost
std_msgs/Header header
string source
string state
string failure
float64 scale
float64 shift
float64 scale_std
float64 shift_std
float64 inlier_ratio
float64 rmse_m
uint32 sample_count
bool has_field
"""
"""msg/Alignment.msg without its comments: an installed package does not have the file."""


def typestore() -> Any:
    """A new `rosbags` typestore of ROS 2 Jazzy's types and `ppd_ros/msg/Alignment`.

    Each call gives one of its own, so that the types of a recording can be registered in it.

    Raises:
        ImportError: rosbags is not installed.
    """
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(ALIGNMENT_DEFINITION, ALIGNMENT_TYPE))
    return store
