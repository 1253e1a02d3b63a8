from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import get_types_from_msg

from ppd_core.bag.reader import BagReader

Message = tuple[str, int, bytes]
Bags = SimpleNamespace


def read(path: Path, topics: list[str] | None = None) -> list[Message]:
    with BagReader(path) as reader:
        messages = [(one.topic, one.log_ns, one.data) for one in reader.messages(topics)]
        assert reader.gaps == []
    return messages


MAKERS: dict[str, Callable[[Bags, Path], Path]] = {
    "sqlite3": lambda b, p: b.rosbag2(p / "b", StoragePlugin.SQLITE3),
    "sqlite3 by message": lambda b, p: b.rosbag2(
        p / "b", StoragePlugin.SQLITE3, CompressionMode.MESSAGE
    ),
    "sqlite3 by file": lambda b, p: b.rosbag2(
        p / "b", StoragePlugin.SQLITE3, CompressionMode.FILE
    ),
    "mcap": lambda b, p: b.rosbag2(p / "b", StoragePlugin.MCAP),
    "mcap by chunk": lambda b, p: b.rosbag2(p / "b", StoragePlugin.MCAP, CompressionMode.STORAGE),
    "mcap by message": lambda b, p: b.rosbag2(
        p / "b", StoragePlugin.MCAP, CompressionMode.MESSAGE
    ),
    "mcap by file": lambda b, p: b.rosbag2(p / "b", StoragePlugin.MCAP, CompressionMode.FILE),
    "mcap none": lambda b, p: b.mcap(p / "b.mcap", b.recorded(), compression=CompressionType.NONE),
    "mcap lz4": lambda b, p: b.mcap(p / "b.mcap", b.recorded(), compression=CompressionType.LZ4),
    "mcap zstd": lambda b, p: b.mcap(p / "b.mcap", b.recorded(), compression=CompressionType.ZSTD),
    "mcap without chunks": lambda b, p: b.mcap(p / "b.mcap", b.recorded(), use_chunking=False),
    "mcap without summary": lambda b, p: b.mcap(
        p / "b.mcap",
        b.recorded(),
        use_statistics=False,
        use_summary_offsets=False,
        repeat_channels=False,
        repeat_schemas=False,
    ),
    "mcap without indexes": lambda b, p: b.mcap(
        p / "b.mcap", b.recorded(), index_types=IndexType.NONE, repeat_channels=False
    ),
    "ros1": lambda b, p: b.ros1(p / "b.bag"),
    "ros1 bz2": lambda b, p: b.ros1(p / "b.bag", "bz2"),
    "ros1 lz4": lambda b, p: b.ros1(p / "b.bag", "lz4"),
}


@pytest.fixture(params=MAKERS)
def bag(request: pytest.FixtureRequest, bags: Bags, tmp_path: Path) -> Path:
    return MAKERS[request.param](bags, tmp_path)


def test_every_format_gives_the_recorded_messages(bag: Path, bags: Bags):
    assert read(bag) == bags.recorded()


def test_topics_are_chosen(bag: Path, bags: Bags):
    assert read(bag, ["/info"]) == [one for one in bags.recorded() if one[0] == "/info"]


def test_topics_are_declared(bag: Path, bags: Bags):
    with BagReader(bag) as reader:
        assert {name: one.msgtype for name, one in reader.topics.items()} == bags.types
        assert {one.count for one in reader.topics.values()} == {12}
        assert (reader.begin_ns, reader.end_ns) == (0, 11 * 10**9 + 7)
        for topic in reader.topics.values():
            assert topic.format == "ros2msg"
            types = get_types_from_msg(topic.definition, topic.msgtype)
            assert types[topic.msgtype][1] == bags.store.fielddefs[topic.msgtype][1]


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


def test_chunks_that_overlap_give_log_order(bags: Bags, tmp_path: Path):
    messages = bags.recorded(40)
    late = [messages[index ^ 8] for index in range(len(messages))]
    path = bags.mcap(tmp_path / "b.mcap", late, chunk_size=900)
    assert read(path) == sorted(late, key=lambda one: one[1])


def test_a_folder_without_metadata_is_read_by_its_files(bags: Bags, tmp_path: Path):
    folder = tmp_path / "b"
    folder.mkdir()
    messages = bags.recorded()
    for number, begin in enumerate(range(0, 24, 2)):
        bags.mcap(folder / f"b_{number}.mcap", messages[begin : begin + 2])
    assert read(folder) == messages
    shutil.copy(__file__, folder / "metadata.yaml")
    assert read(folder) == messages


def test_what_is_no_recording_is_refused(tmp_path: Path):
    other = tmp_path / "other.mcap"
    other.write_bytes(bytes(range(256)) * 9)
    for path in (other, tmp_path / "none", tmp_path, Path(__file__)):
        with pytest.raises(ValueError, match=r"MCAP|does not exist|\.mcap"):
            BagReader(path)
