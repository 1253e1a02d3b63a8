"""Recordings played as a camera."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")

from ppd_core.bag.compressed import compressed_depth_message, jpeg_message
from ppd_core.bag.making import (
    depth_message,
    depth_mm_message,
    info_message,
    make_header,
    rgb_message,
)
from ppd_core.bag.reader import BagReader
from ppd_core.bag.writer import BagWriter
from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_reading import image_to_depth
from ppd_core.image_reading import image_to_rgb
from ppd_core.registry import packaged_recording
from ppd_core.types import Intrinsics
from ppd_ros.bag_publisher import OUTPUTS, BagPublisher, PlayedTopics
from ppd_ros.children import Child, domain_environment, ended_children

WIDTH, HEIGHT = 16, 12
CAMERA = Intrinsics.from_focal(WIDTH, HEIGHT, 10.0)
IMAGE = np.fromfunction(lambda v, u, c: 40 + 5 * u + 3 * v + 20 * c, (HEIGHT, WIDTH, 3)).astype(
    "u1"
)
PERIOD_NS = 20_000_000


def depth_of(number):
    depth = np.full((HEIGHT, WIDTH), 1.0 + number, np.float32)
    depth[0, 0] = np.nan
    return depth


@pytest.fixture
def bag(tmp_path):
    """Makes a recording of raw or compressed topics below a prefix, recorded late."""

    def make(*, is_raw, prefix="/camera", frames=3, stamp_ns=5 * 10**9):
        with BagWriter(tmp_path / "bag") as writer:
            for number in range(frames):
                at_ns = 10**18 + number * PERIOD_NS
                header = make_header(stamp_ns + number * PERIOD_NS, "camera_optical_frame")
                writer.write(f"{prefix}/camera_info", at_ns, info_message(CAMERA, header))
                depth = depth_of(number)
                if is_raw:
                    writer.write(f"{prefix}/image", at_ns, rgb_message(IMAGE, header))
                    writer.write(f"{prefix}/depth_in", at_ns, depth_mm_message(depth, header))
                    writer.write(f"{prefix}/truth", at_ns, depth_message(depth, header))
                    continue
                writer.write(f"{prefix}/image/compressed", at_ns, jpeg_message(IMAGE, header))
                for name in ("depth_in", "truth"):
                    message = compressed_depth_message(depth, header)
                    writer.write(f"{prefix}/{name}/compressedDepth", at_ns, message)
            writer.close({})
        return tmp_path / "bag"

    return make


@pytest.fixture
def play(world):
    """Plays a recording; output -> what arrives."""

    def play(path, topics=None):
        received = {n: world.subscribe(kind, f"camera/{n}") for n, kind in OUTPUTS.items()}
        world.add(lambda context: BagPublisher(BagReader(path), topics, context=context))
        return received

    return play


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def by_stamp(messages):
    return {stamp_ns(message): message for message in messages}


@pytest.mark.parametrize("is_raw", [True, False])
def test_frames_come_as_recorded_with_one_stamp_of_now(world, play, bag, is_raw):
    before_ns = world.client.get_clock().now().nanoseconds
    received = play(bag(is_raw=is_raw))
    frames = {}

    def is_enough():
        frames.update({name: by_stamp(messages) for name, messages in received.items()})
        return len(set.intersection(*map(set, frames.values()))) >= 6

    world.spin_until(is_enough, "two rounds of three frames")
    after_ns = world.client.get_clock().now().nanoseconds
    stamps = sorted(set.intersection(*map(set, frames.values())))
    assert before_ns <= stamps[0] and stamps[-1] <= after_ns
    for stamp in stamps:
        frame = {name: frames[name][stamp] for name in OUTPUTS}
        assert {m.header.frame_id for m in frame.values()} == {"camera_optical_frame"}
        assert intrinsics_from_info(frame["camera_info"], WIDTH, HEIGHT) == CAMERA
        seen = image_to_rgb(frame["image"]).astype(int)
        assert np.abs(seen - IMAGE).mean() < (1e-9 if is_raw else 3)
        assert frame["depth_in"].encoding == "16UC1"
        assert frame["truth"].encoding == ("32FC1" if is_raw else "16UC1")
        for name in ("depth_in", "truth"):
            depth = image_to_depth(frame[name])
            number = round(float(depth[1, 1])) - 1
            np.testing.assert_allclose(depth, depth_of(number), atol=0.000501)


def test_recording_begins_again_in_its_own_rhythm(world, play, bag):
    received = play(bag(is_raw=True))
    world.spin_until(lambda: len(received["depth_in"]) >= 9, "three rounds")
    order = [round(float(image_to_depth(m)[1, 1])) for m in received["depth_in"]]
    first = order.index(1)
    assert order[first : first + 6] == [1, 2, 3, 1, 2, 3]
    gaps = np.diff([stamp_ns(message) for message in received["depth_in"]])
    # On a busy machine what is very late is played later; else stamps are as exact as recorded.
    assert np.median(gaps) == PERIOD_NS


def test_topics_are_those_that_were_named(world, play, bag):
    path = bag(is_raw=True, prefix="/head")
    topics = PlayedTopics(image="/head/image", depth_in="/head/truth")
    received = play(path, topics)
    world.spin_until(lambda: received["image"] and received["depth_in"], "both")
    assert received["depth_in"][0].encoding == "32FC1"
    assert not received["camera_info"] and not received["truth"]


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        (PlayedTopics(), "has no topic /camera/image; it has /head/camera_info"),
        (PlayedTopics(image="/head/picture"), "has no topic /head/picture"),
        (
            PlayedTopics(image="/head/camera_info"),
            "/head/camera_info is sensor_msgs/msg/CameraInfo",
        ),
    ],
)
def test_topic_that_cannot_be_played_is_told(play, bag, topics, words):
    path = bag(is_raw=True, prefix="/head")
    with pytest.raises(ValueError, match=words):
        play(path, topics)


def test_calibration_that_nobody_stamped_does_not_mislead(world, play, tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        info = info_message(CAMERA, make_header(0, "camera"))
        writer.write("/camera/camera_info", 10**18, info)
        writer.write("/camera/image", 10**18, rgb_message(IMAGE, make_header(10**9, "camera")))
        writer.close({})
    received = play(tmp_path / "bag")
    world.spin_until(lambda: received["image"] and received["camera_info"], "both")
    assert stamp_ns(received["camera_info"][0]) == 0
    age_ns = world.client.get_clock().now().nanoseconds - stamp_ns(received["image"][0])
    assert 0 <= age_ns < 20 * 10**9


def test_program_plays_the_packaged_recording(world, tmp_path, domain_id, search_path):
    received = {name: world.subscribe(kind, f"camera/{name}") for name, kind in OUTPUTS.items()}
    environment = {**domain_environment(domain_id), "PYTHONPATH": search_path()}
    with ended_children() as children:
        child = Child(
            "player", "ppd_ros.bag_publisher", [], log_folder=tmp_path, environment=environment
        )
        children.append(child)

        def is_enough():
            assert child.status is None, child.output
            return all(len(messages) > 3 for messages in received.values())

        world.spin_until(is_enough, "some of all", timeout_s=60.0)
        assert child.end() == 0, child.output
    assert str(packaged_recording()) in child.output
    assert "frames sent" in child.output
    assert {(m.width, m.height) for m in received["image"]} == {(320, 240)}


def test_what_is_no_recording_is_told_in_one_line(tmp_path, domain_id, search_path):
    environment = {**domain_environment(domain_id), "PYTHONPATH": search_path()}
    (tmp_path / "a.mcap").write_bytes(b"nothing")
    for path in ("a.mcap", "missing"):
        with ended_children() as children:
            child = Child(
                "player",
                "ppd_ros.bag_publisher",
                [str(tmp_path / path)],
                log_folder=tmp_path,
                environment=environment,
            )
            children.append(child)
            assert child.wait(60) == 1
            assert path in child.output and "Traceback" not in child.output
