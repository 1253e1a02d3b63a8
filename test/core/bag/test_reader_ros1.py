from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import get_types_from_msg

from ppd_core.bag.reader import BagReader, Gap

Message = tuple[str, int, bytes]
Bags = SimpleNamespace
COMPRESSIONS = ("none", "bz2", "lz4")


def read(path: Path) -> tuple[list[Message], list[Gap]]:
    with BagReader(path) as reader:
        messages = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
        return messages, reader.gaps


def without_index(path: Path) -> None:
    """As a recorder leaves its bag that is killed."""
    content = bytearray(path.read_bytes())
    at = content.index(b"index_pos=") + len(b"index_pos=")
    end = int.from_bytes(content[at : at + 8], "little")
    content[at : at + 8] = bytes(8)
    path.write_bytes(content[:end])


def chunks(path: Path) -> list[tuple[int, int, int]]:
    """Begin and end of each chunk's bytes, and its first log time."""
    with Reader1(path) as reader:
        infos = sorted(reader.chunk_infos, key=lambda one: one.pos)
        return [
            (at.datapos, at.datapos + at.datasize, info.start_time)
            for info, at in ((info, reader.chunks[info.pos]) for info in infos)
        ]


def write(path: Path, bags: Bags, kind: str, definition: str, message: Any) -> Path:
    store = bags.store1
    if definition:
        store = type(store)()
        store.register(bags.store1.fielddefs)
        store.register(get_types_from_msg(definition, kind))
        message = message(store)
    with Writer1(path) as writer:
        connection = writer.add_connection("/one", kind, typestore=store, latching=1)
        writer.write(connection, 10**9, store.serialize_ros1(message, kind))
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_bag_without_index_is_read(bags: Bags, tmp_path: Path, compression: str):
    path = bags.ros1(tmp_path / "b.bag", compression)
    whole, _ = read(path)
    without_index(path)
    messages, gaps = read(path)
    assert messages == whole == bags.recorded()
    (gap,) = gaps
    assert gap.detail.startswith("the file ends without its index")
    assert gap.begin_ns == whole[-1][1]
    with BagReader(path.rename(tmp_path / "b.bag.active")) as reader:
        assert reader.topics["/image"].count == 12


@pytest.mark.parametrize("compression", ["bz2", "none"])
@pytest.mark.parametrize("has_index", [True, False])
def test_a_broken_chunk_costs_itself(
    bags: Bags, tmp_path: Path, compression: str, has_index: bool
):
    path = bags.ros1(tmp_path / "b.bag", compression)
    parts = chunks(path)
    if not has_index:
        without_index(path)
    content = bytearray(path.read_bytes())
    begin, end, first_ns = parts[2]
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    messages, gaps = read(path)
    lost = [one for one in bags.recorded() if first_ns <= one[1] < parts[3][2]]
    assert len(lost) > 1
    assert messages == [one for one in bags.recorded() if one not in lost]
    gap = gaps[-1]
    assert gap.detail.endswith(f"{len(lost)} of {len(lost)} messages are lost")
    assert (gap.begin_ns, gap.end_ns) == (lost[0][1], lost[-1][1])


@pytest.mark.parametrize("has_index", [True, False])
def test_a_chunk_without_header_costs_itself(bags: Bags, tmp_path: Path, has_index: bool):
    path = bags.ros1(tmp_path / "b.bag")
    parts = chunks(path)
    if not has_index:
        without_index(path)
    content = bytearray(path.read_bytes())
    begin = parts[2][0]
    content[begin - 60 : begin] = bytes(60)
    path.write_bytes(content)
    messages, gaps = read(path)
    assert messages == [one for one in bags.recorded() if not parts[2][2] <= one[1] < parts[3][2]]
    assert gaps


def test_a_bad_record_costs_itself(bags: Bags, tmp_path: Path):
    path = bags.ros1(tmp_path / "b.bag")
    content = bytearray(path.read_bytes())
    begin, _, first_ns = chunks(path)[2]
    content[begin : begin + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    messages, gaps = read(path)
    assert messages == [one for one in bags.recorded() if one[1] != first_ns]
    (gap,) = gaps
    assert gap.detail.endswith(": 1 of 4 messages are lost")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_bag_that_was_cut_off_gives_what_is_left(bags: Bags, tmp_path: Path, compression: str):
    path = bags.ros1(tmp_path / "b.bag", compression)
    parts = chunks(path)
    path.write_bytes(path.read_bytes()[: parts[3][1] - 20])
    messages, gaps = read(path)
    whole = [one for one in bags.recorded() if one[1] < parts[3][2]]
    assert messages[: len(whole)] == whole
    assert messages == bags.recorded()[: len(messages)]
    assert len(messages) < len([one for one in bags.recorded() if one[1] < parts[4][2]])
    assert any("the file ends in the middle of it" in one.detail for one in gaps)


def test_a_damaged_definition_is_known_by_its_digest(bags: Bags, tmp_path: Path):
    path = bags.ros1(tmp_path / "b.bag")
    path.write_bytes(path.read_bytes().replace(b"uint32 height", b"uint32 h\x00ight"))
    assert read(path) == (bags.recorded(), [])


def test_old_tf_becomes_that_of_ros2(bags: Bags, tmp_path: Path):
    def message(store: Any) -> Any:
        types = store.types
        moved = types["geometry_msgs/msg/Transform"](
            types["geometry_msgs/msg/Vector3"](1.0, 2.0, 3.0),
            types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
        )
        header = bags.image(7, bags.store1).header
        one = types["geometry_msgs/msg/TransformStamped"](header, "child", moved)
        return types["tf/msg/tfMessage"]([one])

    definition = "geometry_msgs/TransformStamped[] transforms\n"
    path = write(tmp_path / "b.bag", bags, "tf/msg/tfMessage", definition, message)
    with BagReader(path) as reader:
        assert reader.topics["/one"].msgtype == "tf2_msgs/msg/TFMessage"
        (one,) = (reader.deserialize(one) for one in reader.messages())
    assert one.transforms[0].child_frame_id == "child"
    assert one.transforms[0].header.stamp.sec == 7
    assert one.transforms[0].transform.translation.z == 3.0


def test_a_type_of_ones_own_keeps_its_definition(bags: Bags, tmp_path: Path):
    def message(store: Any) -> Any:
        header = bags.image(7, bags.store1).header
        return store.types["my_msgs/msg/Heat"](header, np.arange(3, dtype=np.float32))

    definition = "Header header\nfloat32[] degrees\n"
    path = write(tmp_path / "b.bag", bags, "my_msgs/msg/Heat", definition, message)
    with BagReader(path) as reader:
        topic = reader.topics["/one"]
        assert "float32[] degrees" in topic.definition and "seq" not in topic.definition
        assert topic.qos[0].durability.name == "TRANSIENT_LOCAL"
        (one,) = (reader.deserialize(one) for one in reader.messages())
    assert one.header.frame_id == "camera"
    np.testing.assert_array_equal(one.degrees, [0, 1, 2])


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("has_index", [True, False])
def test_random_damage_never_raises_and_repeats_nothing(
    bags: Bags, tmp_path: Path, compression: str, has_index: bool
):
    path = bags.ros1(tmp_path / "b.bag", compression)
    if not has_index:
        without_index(path)
    whole = path.read_bytes()
    for seed in range(25):
        source = random.Random(seed)
        content = bytearray(whole)
        for _ in range(source.choice([1, 4])):
            begin = source.randrange(len(content))
            end = min(begin + source.choice([1, 10, 1000]), len(content))
            content[begin:end] = source.randbytes(end - begin)
        path.write_bytes(content)
        messages, _ = read(path)
        assert len(set(messages)) == len(messages)
        if compression == "bz2":
            assert set(messages) <= set(bags.recorded())
