"""The message types of a recording: those of ROS 2 Jazzy and our own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from ppd_core.bag.definitions import types_of
from ppd_core.bag.recording import BagTopic

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


@cache
def own_types() -> Mapping[str, Any]:
    """Name -> class of the types that we write messages of."""
    return typestore().types


def complete_topic(topic: BagTopic, store: Any) -> BagTopic:
    """A topic with the definition of its type, where it has none and the store knows it.

    A type that only the topic defines is registered in the store.

    Args:
        topic: of a recording, or just a name and a type.
        store: a typestore of ROS 2.
    """
    if topic.definition:
        _register(topic, store)
        return topic
    if topic.msgtype not in store.fielddefs:
        return topic
    definition, _ = store.generate_msgdef(topic.msgtype, ros_version=2)
    digest = topic.digest or store.hash_rihs01(topic.msgtype)
    return replace(topic, definition=definition, digest=digest, format="ros2msg")


def _register(topic: BagTopic, store: Any) -> None:
    from rosbags.typesys import TypesysError

    if topic.msgtype in store.fielddefs:
        return
    # What cannot be understood can still be copied.
    with suppress(TypesysError, ValueError):
        types = types_of(topic.msgtype, topic.definition, topic.format)
        store.register({name: one for name, one in types.items() if name not in store.fielddefs})
