"""The bag of what the recorder saw, read by the hands of the format's own libraries."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap_ros2", reason="mcap-ros2-support reads the bag back")

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import depth_to_image, depth_to_image_mm, points_to_cloud, rgb_to_image
from ppd_ros.recorded_bag import Aside, write_bag
from ppd_ros.recorded_files import TRUTH_TOPICS, Frame

NAMES = {key: "/" + topic for key, (_, topic) in TRUTH_TOPICS.items()}
WIDTH, HEIGHT = 8, 6


def frame_at(second, *, depth_m=2.0):
    header = Header(stamp=Time(sec=second), frame_id="table_optical_frame")
    depth = np.full((HEIGHT, WIDTH), depth_m, np.float32)
    colors = np.full((HEIGHT, WIDTH, 3), second, np.uint8)
    info = intrinsics_to_info(Intrinsics.from_focal(WIDTH, HEIGHT, 10.0), header)
    sent = {
        "points": points_to_cloud(np.repeat(depth[..., None], 3, 2), colors, header),
        "image": rgb_to_image(colors, header),
        "camera_info": info,
        "depth": depth_to_image(depth, header),
        "depth_info": info,
        "sensor": depth_to_image_mm(depth, header),
        "truth": depth_to_image(depth, header),
    }
    return Frame({key: serialize_message(message) for key, message in sent.items()})


@pytest.fixture
def aside(world):
    return Aside(world.client)


def test_frames_are_whole_in_order_and_at_their_own_stamps(tmp_path, aside):
    frames = [frame_at(12), frame_at(10), frame_at(11)]
    assert write_bag(frames, aside, tmp_path / "recording", NAMES) == 3
    with AnyReader([tmp_path / "recording"]) as reader:
        assert set(reader.topics) == set(NAMES.values())
        times = [at for _, at, _ in reader.messages()]
        assert times == sorted(times) and set(times) == {s * 10**9 for s in (10, 11, 12)}
        for connection, at, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            assert message.header.stamp.sec * 10**9 == at
            assert message.header.frame_id == "table_optical_frame"
            if connection.topic == "/camera/image":
                assert (message.data == at // 10**9).all()
    [file] = (tmp_path / "recording").glob("*.mcap")
    with file.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        decoded = [(channel.topic, m) for _, channel, _, m in reader.iter_decoded_messages()]
    assert sorted({topic for topic, _ in decoded}) == sorted(NAMES.values())
    cloud = next(message for topic, message in decoded if topic == "/ppd/points")
    assert (cloud.width, cloud.height, cloud.point_step) == (WIDTH, HEIGHT, 16)


def test_bytes_are_those_that_came(tmp_path, aside):
    frame = frame_at(10)
    write_bag([frame], aside, tmp_path / "recording", NAMES)
    with AnyReader([tmp_path / "recording"]) as reader:
        found = {connection.topic: bytes(data) for connection, _, data in reader.messages()}
    assert found == {NAMES[key]: bytes(data) for key, data in frame.data.items()}


def test_what_was_said_in_the_time_of_the_frames_is_there(world, tmp_path, aside):
    out = world.client.create_publisher(DiagnosticArray, "/diagnostics", 10)
    world.spin_until(lambda: out.get_subscription_count() > 0, "it listens")
    for second in (5, 10, 11, 12, 30):
        status = DiagnosticStatus(name=f"at {second}", level=b"\x01")
        header = Header(stamp=Time(sec=second))
        out.publish(DiagnosticArray(header=header, status=[status]))
    world.spin_until(lambda: len(aside._messages) == 5, "all of it")
    write_bag([frame_at(10), frame_at(11)], aside, tmp_path / "recording", NAMES)
    with AnyReader([tmp_path / "recording"]) as reader:
        said = [
            (at, reader.deserialize(data, connection.msgtype).status[0].name)
            for connection, at, data in reader.messages()
            if connection.topic == "/diagnostics"
        ]
    assert said == [(s * 10**9, f"at {s}") for s in (10, 11, 12)]


def test_older_recording_is_replaced_and_nothing_else(tmp_path, aside):
    folder = tmp_path / "recording"
    write_bag([frame_at(s) for s in range(10, 15)], aside, folder, NAMES)
    write_bag([frame_at(20)], aside, folder, NAMES)
    with AnyReader([folder]) as reader:
        assert reader.start_time == 20 * 10**9 and reader.message_count == len(NAMES)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="other"):
        write_bag([frame_at(20)], aside, other, NAMES)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
