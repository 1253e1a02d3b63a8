"""What was written is read by others: MCAP's reader, plain SQLite, rosbags' reader of ROS 1."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap_ros2.decoder", reason="mcap-ros2-support reads it back, extra 'dev'")

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag1 import Reader as Reader1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ppd_core.bag import making, parts
from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_core.bag.typestore import typestore
from ppd_core.bag.writer import BagWriter
from ppd_core.status_report import WARN, StatusReport
from ppd_core.types import Alignment, AlignmentError, Intrinsics

STORE = typestore()
SECOND_NS = 10**9
HEIGHT, WIDTH = 300, 400  # of a depth image: more than LARGE_BYTES
CAMERA = Intrinsics.from_fov(WIDTH, HEIGHT, 70)
MD5_SUMS = {
    "sensor_msgs/msg/Image": "060021388200f6f0f447d0fcd9c64743",
    "sensor_msgs/msg/CameraInfo": "c9a58c1b0b154e0e6da7578cb991d214",
    "sensor_msgs/msg/PointCloud2": "1158d486dd51d683ce2f1be655c3c181",
    "tf2_msgs/msg/TFMessage": "94810edda583a504dfda3829e70d7eec",
    "diagnostic_msgs/msg/DiagnosticArray": "60810da900de1dd6ddd437c3503511da",
}
"""As ROS 1 Noetic knows them."""


def messages_of(number: int) -> dict[str, Any]:
    """Topic -> message, of every kind that is made."""
    stamp_ns = 1_700_000_000 * SECOND_NS + number * 33_333_333
    header = making.make_header(stamp_ns, "camera_optical_frame")
    chance = np.random.default_rng(number)
    depth = chance.uniform(-0.1, 80, (HEIGHT, WIDTH)).astype(np.float32)
    depth[0, :3] = np.nan, np.inf, -np.inf
    alignment = Alignment(1.5, -0.25, "depth", "fitted", sample_count=7, has_field=True)
    return {
        "/rgb": making.rgb_message(chance.integers(0, 256, (4, 5, 3), np.uint8), header),
        "/depth": making.depth_message(depth, header),
        "/depth_mm": making.depth_mm_message(depth, header),
        "/info": making.info_message(CAMERA, header),
        "/points": making.cloud_message(chance.random((20, 30, 4), np.float32), header),
        "/alignment": making.alignment_message(
            alignment, header, source="depth", failure=AlignmentError("flat_samples", "")
        ),
        "/diagnostics": making.diagnostics_message(
            stamp_ns, [StatusReport("ppd", WARN, "", {"a": "1.5", "ä": "ö"})]
        ),
        "/tf_static": making.transform_message(
            stamp_ns, "base", "camera", (0.1, 0.2, 0.3), (0, 0, 0, 1)
        ),
    }


def log_ns(number: int, index: int) -> int:
    return 1_700_000_000 * SECOND_NS + number * SECOND_NS + index


def write(folder, storage, **options) -> dict[tuple[str, int], Any]:
    """Two parts of three frames; returns what went in by topic and log time."""
    written = {}
    with BagWriter(folder, storage=storage, **options) as writer:
        for number in range(6):
            for index, (topic, message) in enumerate(messages_of(number).items()):
                written[topic, log_ns(number, index)] = message
                writer.write(topic, log_ns(number, index), message)
            if number == 2:
                writer.checkpoint({})
        writer.close({})
    return written


def assert_same(got: Any, expected: Any) -> None:
    """Two messages of whatever classes, field by field; NaN equals NaN."""
    if hasattr(expected, "__msgtype__"):
        for name, _ in STORE.fielddefs[expected.__msgtype__][1]:
            assert_same(value_of(got, name), getattr(expected, name))
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        got = np.frombuffer(got, np.uint8) if isinstance(got, bytes) else np.asarray(got)
        assert np.array_equal(got, expected)
    else:
        assert got == expected or (got != got and expected != expected)


def value_of(message: Any, name: str) -> Any:
    for spelling in (name, name.upper()):  # ROS 1 has K for k
        if hasattr(message, spelling):
            return getattr(message, spelling)
    raise AssertionError(f"no {name} in {message}")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_mcap_reads_back_what_went_in(compression, tmp_path):
    folder = tmp_path / "run"
    written = write(folder, "mcap", compression=compression)
    found = set()
    for name in ("run_0.mcap", "run_1.mcap"):
        with (folder / name).open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
            assert reader.get_header().profile == "ros2"
            before = 0
            for schema, channel, message, decoded in reader.iter_decoded_messages():
                expected = written[channel.topic, message.log_time]
                assert_same(decoded, expected)
                assert schema.name == expected.__msgtype__
                assert message.publish_time == message.log_time >= before
                before = message.log_time
                found.add((channel.topic, message.log_time))
    assert found == set(written)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_summary_and_indexes_of_mcap_agree_with_its_messages(compression, tmp_path):
    folder = tmp_path / "run"
    write(folder, "mcap", compression=compression)
    with (folder / "run_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        messages = [(channel.topic, m) for _, channel, m in reader.iter_messages()]
        (note,) = reader.iter_metadata()
    topics = list(messages_of(0))
    statistics = summary.statistics
    assert statistics.message_count == len(messages) == 3 * len(topics)
    assert statistics.message_start_time == log_ns(0, 0)
    assert statistics.message_end_time == log_ns(2, len(topics) - 1)
    assert statistics.schema_count == len(summary.schemas) == 6
    assert statistics.channel_count == len(summary.channels) == len(topics)
    assert statistics.chunk_count == len(summary.chunk_indexes) >= 2
    assert statistics.metadata_count == len(summary.metadata_indexes) == 1
    assert set(statistics.channel_message_counts.values()) == {3}
    # The index alone finds a topic's messages, and those of a time.
    with (folder / "run_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert len(list(reader.iter_messages(topics=["/info"]))) == 3
        late = list(reader.iter_messages(starting_at=log_ns(2, 0)))
        assert len(late) == len(topics)
    inner = yaml.safe_load(note.metadata["serialized_metadata"])
    assert inner["relative_file_paths"] == ["run_0.mcap"]
    assert inner["message_count"] == len(messages)


def test_damage_of_a_byte_is_seen(tmp_path):
    folder = tmp_path / "run"
    write(folder, "mcap")
    path = folder / "run_0.mcap"
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)
    with path.open("rb") as stream, pytest.raises(Exception, match="crc"):
        list(make_reader(stream, validate_crcs=True).iter_messages())


def test_chunks_are_neither_tiny_nor_of_many_large_messages(tmp_path):
    messages = messages_of(0)
    with BagWriter(tmp_path / "run") as writer:
        for number in range(8000):
            writer.write("/tf", number, messages["/tf_static"])
        for number in range(3):
            writer.write("/depth", number, messages["/depth"])
        writer.close({})
    with (tmp_path / "run/run_0.mcap").open("rb") as stream:
        sizes = [
            index.uncompressed_size for index in make_reader(stream).get_summary().chunk_indexes
        ]
    large = HEIGHT * WIDTH * 4
    *full, last = sizes
    assert full and last
    assert all(parts.CHUNK_BYTES <= size < large + parts.CHUNK_BYTES + 1000 for size in full)


def test_plain_sqlite_reads_back_what_went_in(tmp_path):
    folder = tmp_path / "run"
    written = write(folder, "sqlite3")
    found = set()
    for name in ("run_0.db3", "run_1.db3"):
        with closing(sqlite3.connect(folder / name)) as database:
            topics = dict(database.execute("SELECT id, name FROM topics"))
            types = dict(database.execute("SELECT name, type FROM topics"))
            known = {
                kind for (kind,) in database.execute("SELECT topic_type FROM message_definitions")
            }
            assert known == set(types.values())
            for topic_id, time, data in database.execute(
                "SELECT topic_id, timestamp, data FROM messages"
            ):
                topic = topics[topic_id]
                assert_same(STORE.deserialize_cdr(data, types[topic]), written[topic, time])
                found.add((topic, time))
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert found == set(written)


def test_ros1_reads_back_what_went_in(tmp_path):
    folder = tmp_path / "run"
    written = write(folder, "ros1")
    found = set()
    for name in ("run_0.bag", "run_1.bag"):
        with Reader1(folder / name) as reader:
            for connection in reader.connections:
                assert MD5_SUMS.get(connection.msgtype, connection.digest) == connection.digest
                assert connection.ext.latching == int(connection.topic == "/tf_static")
                # Its own text gives its own sum: what a program that does not know it would read.
                types = get_typestore(Stores.EMPTY)
                types.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
                assert types.generate_msgdef(connection.msgtype)[1] == connection.digest
            for connection, time, data in reader.messages():
                types = get_typestore(Stores.EMPTY)
                types.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
                decoded = types.deserialize_ros1(data, connection.msgtype)
                assert_same(decoded, written[connection.topic, time])
                found.add((connection.topic, time))
    assert found == set(written)


def test_a_foreign_type_and_a_big_endian_message_reach_ros1(tmp_path):
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", 1, "uint16 x\nstring name\n", "", "ros2msg")
    data = b"\0\0\0\0" + b"\x01\x02\0\0" + b"\0\0\0\3hi\0"
    with BagWriter(tmp_path / "run", storage="ros1") as writer:
        writer.copy(topic, BagMessage("/odd", topic.msgtype, 5, data))
        writer.close({})
    with Reader1(tmp_path / "run/run_0.bag") as reader:
        ((_, time, octets),) = reader.messages()
    assert (time, octets) == (5, b"\x02\x01" + b"\2\0\0\0hi")


@pytest.mark.parametrize(
    ("definition", "kind", "data", "words"),
    [
        ("", "", b"\0\1\0\0\1\0\0\0", "/odd must be of a known type"),
        ("uint32 x\n", "ros2msg", b"\0\1\0\0\1", "message of /odd cannot be read"),
    ],
)
def test_what_ros1_cannot_have_is_told(definition, kind, data, words, tmp_path):
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", 1, definition, "", kind)
    with (
        BagWriter(tmp_path / "run", storage="ros1") as writer,
        pytest.raises(ValueError, match=words),
    ):
        writer.copy(topic, BagMessage("/odd", topic.msgtype, 5, data))
