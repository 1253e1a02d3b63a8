"""Recordings of a few messages, written by the libraries' own writers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
STORE1 = get_typestore(Stores.ROS1_NOETIC)
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
Message = tuple[str, int, bytes]


def image(index: int, store: Any = STORE) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](index, 500)
    parts = ([index] if store is STORE1 else []) + [stamp, "camera"]
    header = store.types["std_msgs/msg/Header"](*parts)
    pixels = np.full(4 * 5 * 3, index % 256, np.uint8)
    return store.types[IMAGE](header, 4, 5, "rgb8", 0, 15, pixels)


def info(index: int, store: Any = STORE) -> Any:
    roi = store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    k = np.array([300.0, 0, 2, 0, 300, 1.5, 0, 0, 1])
    return store.types[INFO](
        image(index, store).header,
        4,
        5,
        "plumb_bob",
        np.zeros(5),
        k,
        np.eye(3).reshape(-1),
        np.zeros(12),
        0,
        0,
        roi,
    )


def cdr(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def recorded(count: int = 12) -> list[Message]:
    messages = []
    for index in range(count):
        messages.append(("/image", index * 10**9, cdr(image(index))))
        messages.append(("/info", index * 10**9 + 7, cdr(info(index))))
    return messages


TYPES = {"/image": IMAGE, "/info": INFO}


def write_rosbag2(
    folder: Path,
    plugin: StoragePlugin,
    mode: CompressionMode = CompressionMode.NONE,
    messages: list[Message] | None = None,
) -> Path:
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in TYPES.items()
        }
        for topic, log_ns, data in recorded() if messages is None else messages:
            writer.write(connections[topic], log_ns, data)
    return folder


def write_mcap(
    path: Path, messages: list[Message], chunk_size: int = 2000, **options: Any
) -> Path:
    with path.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=chunk_size, **options)
        writer.start(profile="ros2", library="test")
        channels = {}
        for topic, kind in TYPES.items():
            definition = STORE.generate_msgdef(kind, ros_version=2)[0].encode()
            schema = writer.register_schema(kind, "ros2msg", definition)
            channels[topic] = writer.register_channel(topic, "cdr", schema)
        for number, (topic, log_ns, data) in enumerate(messages):
            writer.add_message(channels[topic], log_ns, data, log_ns, number)
        writer.finish()
    return path


def write_ros1(path: Path, compression: str = "none", chunk_size: int = 1000) -> Path:
    writer = Writer1(path)
    writer.chunk_threshold = chunk_size
    if compression != "none":
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=STORE1)
            for topic, kind in TYPES.items()
        }
        for index in range(12):
            for topic, log_ns, one in (
                ("/image", index * 10**9, image(index, STORE1)),
                ("/info", index * 10**9 + 7, info(index, STORE1)),
            ):
                data = STORE1.serialize_ros1(one, one.__msgtype__)
                writer.write(connections[topic], log_ns, data)
    return path


@pytest.fixture(scope="session")
def bags() -> SimpleNamespace:
    """What makes them, and what is in them."""
    return SimpleNamespace(
        store=STORE,
        store1=STORE1,
        types=TYPES,
        image=image,
        info=info,
        cdr=cdr,
        recorded=recorded,
        rosbag2=write_rosbag2,
        mcap=write_mcap,
        ros1=write_ros1,
    )
