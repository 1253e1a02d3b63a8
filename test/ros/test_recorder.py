from __future__ import annotations

import math

import numpy as np
import pytest
from std_msgs.msg import Header

from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import depth_to_image, points_to_cloud, rgb_to_image
from ppd_ros.recorded_files import Frame, write_frame
from ppd_ros.recorder import (
    SIMULATED,
    TOPICS,
    TRUTH_TOPICS,
    WAITING_STAMPS,
    Recorder,
    summarize,
    table,
)


def messages(name, stamp, *, height=6, width=8):
    """All that a frame consists of: a wall two metres away, one pixel of it invalid."""
    header = Header(stamp=stamp, frame_id=f"{name}_optical_frame")
    depth = np.full((height, width), 2.0, np.float32)
    depth[0, 0] = np.nan
    v, u = np.mgrid[:height, :width].astype(np.float32)
    points = np.stack([u * depth / 10, v * depth / 10, depth], axis=2)
    colors = np.full((height, width, 3), 50, np.uint8)
    return {
        "image": rgb_to_image(colors, header),
        "depth": depth_to_image(depth, header),
        "depth_info": intrinsics_to_info(Intrinsics.from_focal(width, height, 10.0), header),
        "points": points_to_cloud(points, colors, header),
        "truth": depth_to_image(np.full((height, width), 3.0, np.float32), header),
    }


@pytest.fixture
def topics(world):
    """Publishers of all that the recorder subscribes to."""
    return {
        key: world.client.create_publisher(kind, topic, 10)
        for key, (kind, topic) in TOPICS.items()
    }


@pytest.fixture
def make_recorder(world, topics):
    def make(names, **options):
        recorder = world.add(lambda context: Recorder(names, context=context, **options))
        world.spin_until(
            lambda: all(p.get_subscription_count() for p in topics.values()), "it subscribes"
        )
        return recorder

    return make


def send(world, topics, name, *, without=()):
    sent = messages(name, world.client.get_clock().now().to_msg())
    for key, message in sent.items():
        if key in topics and key not in without:
            topics[key].publish(message)


def test_recorder_is_done_when_every_photo_came_complete(world, topics, make_recorder):
    recorder = make_recorder(["cat", "cup"], min_frames=3)
    for number, name in enumerate(["cat", "cat", "cup"], 1):
        assert not recorder.is_done
        send(world, topics, name)
        world.spin_until(lambda n=number: recorder.num_frames == n, "a complete frame")
    assert recorder.is_done
    assert recorder.missing == set()
    assert recorder.num_images == 3
    assert recorder.rate_hz > 0
    assert all(0 < latency < 10 for latency in recorder.latencies_s["points"])


def test_frame_that_misses_an_output_does_not_count(world, topics, make_recorder):
    recorder = make_recorder(["cat"], min_frames=1)
    send(world, topics, "cat", without=["points"])
    world.spin_until(lambda: recorder.num_images == 1, "the image")
    send(world, topics, "cup")
    world.spin_until(lambda: recorder.num_frames == 1, "the other frame")
    assert recorder.missing == {"cat"}
    assert not recorder.is_done
    assert math.isnan(recorder.rate_hz)


def test_with_the_truth_the_first_frames_are_kept_and_need_it(world):
    topics = {
        key: world.client.create_publisher(kind, topic, 10)
        for key, (kind, topic) in TRUTH_TOPICS.items()
    }
    recorder = world.add(
        lambda context: Recorder([SIMULATED], min_frames=2, has_truth=True, context=context)
    )
    world.spin_until(
        lambda: all(p.get_subscription_count() for p in topics.values()), "it subscribes"
    )
    send(world, topics, SIMULATED, without=["truth"])
    world.spin_until(lambda: recorder.num_images == 1, "the image")
    for number in (1, 2, 3):
        assert not (number < 3 and recorder.is_done)
        send(world, topics, SIMULATED)
        world.spin_until(lambda n=number: recorder.num_frames == n, "a complete frame")
    assert recorder.is_done
    assert len(recorder.kept) == 2
    assert recorder.kept[-1] is not recorder.recorded[SIMULATED]


def test_complete_frame_ends_the_wait_for_older_ones(world, topics, make_recorder):
    recorder = make_recorder(["cat"], min_frames=1)
    send(world, topics, "cat", without=["points"])
    world.spin_until(lambda: recorder.num_images == 1, "the image")
    send(world, topics, "cat")
    world.spin_until(lambda: recorder.num_frames == 1, "the complete frame")
    assert recorder._waiting == {}


def test_incomplete_frames_do_not_pile_up(world, topics, make_recorder):
    recorder = make_recorder(["cat"], min_frames=1)
    for number in range(1, WAITING_STAMPS + 11):
        send(world, topics, "cat", without=["points", "depth", "depth_info"])
        world.spin_until(lambda n=number: recorder.num_images == n, "the image")
    assert len(recorder._waiting) == WAITING_STAMPS


def test_written_frame_is_photo_beside_depth_cloud_and_side_view(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ppd_ros.recorded_files.render_cloud", lambda points, colors: np.zeros((3, 4, 3), np.uint8)
    )
    frame = Frame(messages("cat", Header().stamp))
    row = write_frame(frame, tmp_path)
    assert row["photo"] == "cat"
    assert (row["width"], row["height"], row["points"]) == (8, 6, 47)
    assert (row["depth_p2_m"], row["depth_p50_m"], row["depth_p98_m"]) == (2.0, 2.0, 2.0)
    picture = read_image(tmp_path / "cat.png")
    assert picture.shape == (6, 16, 3)
    assert (picture[:, :8] == 50).all()
    assert (picture[0, 8] == 0).all()
    assert b"element vertex 47" in (tmp_path / "cat.ply").read_bytes()
    assert read_image(tmp_path / "cat_side.png").shape == (3, 4, 3)


def test_frame_without_any_depth_is_written_as_such(tmp_path):
    sent = messages("cat", Header().stamp)
    nothing = np.full((6, 8), np.nan, np.float32)
    header = sent["image"].header
    sent["depth"] = depth_to_image(nothing, header)
    points = np.full((6, 8, 3), np.nan, np.float32)
    sent["points"] = points_to_cloud(points, np.zeros((6, 8, 3), np.uint8), header)
    row = write_frame(Frame(sent), tmp_path)
    assert row["points"] == 0
    assert row["depth_p50_m"] is None
    assert "cat" in table({**SUMMARY, "photos": [row]})


SUMMARY = {
    "note": "not depth",
    "images_received": 9,
    "frames_complete": 3,
    "rate_hz": 1.5,
    "latency_p50_p95_ms": {"depth": [10.0, 20.0]},
    "photos": [],
}


def test_summary_has_rate_and_latencies():
    class Seen:
        num_images, num_frames, rate_hz = 5, 2, 1.23456
        latencies_s = {key: (0.1, 0.1) for key in TOPICS}  # noqa: RUF012

    summary = summarize(Seen, [], "a note")
    assert summary["rate_hz"] == 1.23
    assert summary["latency_p50_p95_ms"]["points"] == [100.0, 100.0]
    assert (summary["images_received"], summary["frames_complete"]) == (5, 2)
    assert summary["note"] == "a note"


def test_table_says_the_errors_where_there_is_a_truth():
    errors = {"absrel": 0.0312, "delta1": 0.98, "frames": 20}
    text = table({**SUMMARY, "against_truth": errors})
    assert "AbsRel 0.0312, delta1 0.9800 (mean of 20 frames)" in text
    assert "photo " not in text


def test_table_says_the_figures_and_the_note():
    text = table(SUMMARY)
    assert "9 images received, 3 frames with depth" in text
    assert "1.5 frames/s" in text
    assert "depth 10/20 ms" in text
    assert text.endswith("not depth")
