from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags")
pytest.importorskip("mcap", reason="recordings need mcap")

from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ppd_core.bag.reader import BagReader

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
        image(index, store).header, 4, 5, "plumb_bob", np.zeros(5), k, np.eye(3).reshape(-1),
        np.zeros(12), 0, 0, roi,
    )  # fmt: skip


def cdr(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def recorded(count: int = 12) -> list[Message]:
    messages = []
    for index in range(count):
        messages.append(("/image", index * 10**9, cdr(image(index))))
        messages.append(("/info", index * 10**9 + 7, cdr(info(index))))
    return messages


TYPES = {"/image": IMAGE, "/info": INFO}


def write_rosbag2(folder: Path, plugin: StoragePlugin, mode: CompressionMode) -> Path:
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=STORE)
            for topic, kind in TYPES.items()
        }
        for topic, log_ns, data in recorded():
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


def read(path: Path, topics: list[str] | None = None) -> list[Message]:
    with BagReader(path) as reader:
        messages = [(one.topic, one.log_ns, one.data) for one in reader.messages(topics)]
        assert reader.gaps == []
    return messages


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sqlite3": lambda p: write_rosbag2(p / "b", StoragePlugin.SQLITE3, CompressionMode.NONE),
    "sqlite3 by message": lambda p: write_rosbag2(
        p / "b", StoragePlugin.SQLITE3, CompressionMode.MESSAGE
    ),
    "sqlite3 by file": lambda p: write_rosbag2(
        p / "b", StoragePlugin.SQLITE3, CompressionMode.FILE
    ),
    "mcap": lambda p: write_rosbag2(p / "b", StoragePlugin.MCAP, CompressionMode.NONE),
    "mcap by chunk": lambda p: write_rosbag2(
        p / "b", StoragePlugin.MCAP, CompressionMode.STORAGE
    ),
    "mcap by message": lambda p: write_rosbag2(
        p / "b", StoragePlugin.MCAP, CompressionMode.MESSAGE
    ),
    "mcap by file": lambda p: write_rosbag2(p / "b", StoragePlugin.MCAP, CompressionMode.FILE),
    "mcap none": lambda p: write_mcap(
        p / "b.mcap", recorded(), compression=CompressionType.NONE
    ),
    "mcap lz4": lambda p: write_mcap(p / "b.mcap", recorded(), compression=CompressionType.LZ4),
    "mcap zstd": lambda p: write_mcap(p / "b.mcap", recorded(), compression=CompressionType.ZSTD),
    "mcap without chunks": lambda p: write_mcap(p / "b.mcap", recorded(), use_chunking=False),
    "mcap without summary": lambda p: write_mcap(
        p / "b.mcap", recorded(), use_statistics=False, use_summary_offsets=False,
        repeat_channels=False, repeat_schemas=False,
    ),
    "ros1": lambda p: write_ros1(p / "b.bag"),
    "ros1 bz2": lambda p: write_ros1(p / "b.bag", "bz2"),
    "ros1 lz4": lambda p: write_ros1(p / "b.bag", "lz4"),
}  # fmt: skip


@pytest.fixture(params=MAKERS)
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return MAKERS[request.param](tmp_path)


def test_every_format_gives_the_recorded_messages(bag: Path):
    assert read(bag) == recorded()


def test_topics_are_chosen(bag: Path):
    assert read(bag, ["/info"]) == [one for one in recorded() if one[0] == "/info"]


def test_topics_are_declared(bag: Path):
    with BagReader(bag) as reader:
        assert {name: one.msgtype for name, one in reader.topics.items()} == TYPES
        assert {one.count for one in reader.topics.values()} == {12}
        assert (reader.begin_ns, reader.end_ns) == (0, 11 * 10**9 + 7)
        for topic in reader.topics.values():
            assert topic.format == "ros2msg"
            types = get_types_from_msg(topic.definition, topic.msgtype)
            assert types[topic.msgtype][1] == STORE.fielddefs[topic.msgtype][1]


def test_messages_become_objects_of_ros2(bag: Path):
    with BagReader(bag) as reader:
        for number, message in enumerate(reader.messages()):
            one = reader.deserialize(message)
            assert one.header.stamp.sec == number // 2
            if message.topic == "/info":
                assert one.k[0] == 300.0
            else:
                np.testing.assert_array_equal(one.data, np.full(60, number // 2, np.uint8))


def test_a_recording_is_read_twice(bag: Path):
    with BagReader(bag) as reader:
        first, second = ([one.data for one in reader.messages()] for _ in range(2))
    assert first == second != []


def test_chunks_that_overlap_give_log_order(tmp_path: Path):
    messages = recorded(40)
    late = [messages[index ^ 8] for index in range(len(messages))]
    path = write_mcap(tmp_path / "b.mcap", late, chunk_size=900)
    assert read(path) == sorted(late, key=lambda one: one[1])


def test_a_folder_without_metadata_is_read_by_its_files(tmp_path: Path):
    folder = tmp_path / "b"
    folder.mkdir()
    messages = recorded()
    for number, begin in enumerate(range(0, 24, 2)):
        write_mcap(folder / f"b_{number}.mcap", messages[begin : begin + 2])
    assert read(folder) == messages
    shutil.copy(__file__, folder / "metadata.yaml")
    assert read(folder) == messages


def test_what_is_no_recording_is_refused(tmp_path: Path):
    other = tmp_path / "other.mcap"
    other.write_bytes(bytes(range(256)) * 9)
    for path in (other, tmp_path / "none", tmp_path, Path(__file__)):
        with pytest.raises(ValueError, match=r"MCAP|does not exist|\.mcap"):
            BagReader(path)
