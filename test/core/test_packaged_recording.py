"""The recording in the package, read by the hands of the format's own library."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mcap_ros2", reason="read by mcap-ros2-support: pip install 'ppd_ros[dev]'")

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from ppd_core.alignment.anchors import check_unit
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.registry import packaged_recording
from ppd_core.types import Intrinsics

TOPICS = {
    "/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/camera/depth_in/compressedDepth": "sensor_msgs/msg/CompressedImage",
    "/camera/truth/compressedDepth": "sensor_msgs/msg/CompressedImage",
    "/tf": "tf2_msgs/msg/TFMessage",
}
STAMPED = [topic for topic in TOPICS if topic != "/tf"]


@pytest.fixture(scope="module")
def messages():
    """Topic -> [(type, log time, message)]."""
    found = {topic: [] for topic in TOPICS}
    with packaged_recording().open("rb") as stream:
        recorded = make_reader(stream, decoder_factories=[DecoderFactory()])
        for schema, channel, raw, message in recorded.iter_decoded_messages():
            found[channel.topic].append((schema.name, raw.log_time, message))
    return found


def stamp_of(header):
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def millimetres(message):
    assert message.format == "16UC1; compressedDepth png"
    assert struct.unpack("<iff", bytes(message.data[:12])) == (0, 0.0, 0.0)
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8)[12:], cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16 and image.shape == (240, 320)
    return image


def matrix(message):
    """World from camera, by the quaternion's products and not by our own function."""
    [stamped] = message.transforms
    q, t = stamped.transform.rotation, stamped.transform.translation
    assert np.hypot.reduce([q.x, q.y, q.z, q.w]) == pytest.approx(1, abs=1e-9)
    cross = np.array([[0, -q.z, q.y], [q.z, 0, -q.x], [-q.y, q.x, 0]])
    pose = np.eye(4)
    pose[:3, :3] += 2 * q.w * cross + 2 * cross @ cross
    pose[:3, 3] = t.x, t.y, t.z
    return pose


def test_it_is_small_and_has_some_seconds_of_all_topics(messages):
    assert packaged_recording().stat().st_size < 3_000_000
    for topic, of_topic in messages.items():
        assert {kind for kind, _, _ in of_topic} == {TOPICS[topic]}
        times = [at for _, at, _ in of_topic]
        assert len(times) == 31
        assert set(np.diff(times)) == {10**8}


def test_messages_of_a_frame_have_one_stamp_and_the_transform_has_it_too(messages):
    for number in range(31):
        headers = [messages[topic][number][2].header for topic in STAMPED]
        [stamped] = messages["/tf"][number][2].transforms
        assert {stamp_of(header) for header in [*headers, stamped.header]} == {
            messages["/tf"][number][1]
        }
        assert {header.frame_id for header in headers} == {stamped.child_frame_id}
        assert stamped.header.frame_id == "world"


def test_pictures_are_what_they_say(messages):
    _, _, image = messages["/camera/image/compressed"][0]
    assert image.format == "rgb8; jpeg compressed bgr8"
    pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (240, 320, 3) and pixels.std() > 20
    sensed = millimetres(messages["/camera/depth_in/compressedDepth"][0][2])
    truth = millimetres(messages["/camera/truth/compressedDepth"][0][2])
    assert 0.02 < (sensed == 0).mean() < 0.3  # It has a sensor's holes,
    both = (sensed > 0) & (truth > 0)
    error = np.abs(sensed.astype(float) - truth)[both] / truth[both]
    assert 0 < np.median(error) < 0.01  # its noise,
    assert (error > 0.05).mean() > 0.001  # and its borders.
    check_unit(torch.from_numpy(np.where(sensed > 0, sensed / 1000, np.nan)).float())


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 30), (12, 20)])
def test_points_of_one_frame_lie_on_another_s_surfaces(messages, first, second):
    """The scene stands still but for an object in the air: what moves is in /tf."""
    info = messages["/camera/camera_info"][first][2]
    k = np.reshape(info.k, (3, 3))
    camera = Intrinsics(info.width, info.height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    depths = [
        millimetres(messages["/camera/truth/compressedDepth"][at][2]) / 1000
        for at in (first, second)
    ]
    poses = [matrix(messages["/tf"][at][2]) for at in (first, second)]
    points = backproject(torch.from_numpy(depths[0]).float(), ray_table(camera)).numpy()
    points = points[depths[0] > 0].reshape(-1, 3)

    def share_that_fits(motion):
        moved = points @ motion[:3, :3].T + motion[:3, 3]
        u, v = np.rint((moved @ k.T)[:, :2] / moved[:, 2:]).astype(int).T
        seen = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        assert seen.mean() > 0.6
        expected = depths[1][v[seen], u[seen]]
        return (np.abs(moved[seen, 2] / expected - 1) < 0.02).mean()

    # What does not fit was hidden in one of them.
    assert share_that_fits(np.linalg.inv(poses[1]) @ poses[0]) > 0.88
    if second - first > 5:  # In a tenth of a second the camera hardly moves.
        assert share_that_fits(np.eye(4)) < 0.7
        assert share_that_fits(np.linalg.inv(poses[0]) @ poses[1]) < 0.7
