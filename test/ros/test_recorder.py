from __future__ import annotations

import json
import math

import numpy as np
import PIL.Image
import pytest
import torch
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.depth_result import DepthResult
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import depth_to_image, depth_to_image_mm, points_to_cloud, rgb_to_image
from ppd_ros.recorded_files import (
    TOPICS,
    TRUTH_TOPICS,
    Frame,
    write_against_truth,
    write_frame,
    write_views,
)
from ppd_ros.recorder import WAITING_STAMPS, Recorder
from ppd_ros.recording_summary import summarize, table


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
        "camera_info": intrinsics_to_info(Intrinsics.from_focal(width, height, 10.0), header),
        "depth": depth_to_image(depth, header),
        "depth_info": intrinsics_to_info(Intrinsics.from_focal(width, height, 10.0), header),
        "points": points_to_cloud(points, colors, header),
        "sensor": depth_to_image_mm(np.full((height, width), 3.1, np.float32), header),
        "truth": depth_to_image(np.full((height, width), 3.0, np.float32), header),
    }


def frame_of(sent):
    """A frame of messages, as the recorder has it."""
    return Frame({key: serialize_message(message) for key, message in sent.items()})


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
        lambda context: Recorder(["table"], min_frames=2, has_truth=True, context=context)
    )
    world.spin_until(
        lambda: all(p.get_subscription_count() for p in topics.values()), "it subscribes"
    )
    send(world, topics, "table", without=["truth"])
    world.spin_until(lambda: recorder.num_images == 1, "the image")
    for number in (1, 2, 3):
        assert not (number < 3 and recorder.is_done)
        send(world, topics, "table")
        world.spin_until(lambda n=number: recorder.num_frames == n, "a complete frame")
    assert recorder.is_done
    assert len(recorder.kept) == 2
    assert recorder.kept[-1] is not recorder.recorded["table"]


def test_frame_is_what_came_and_has_its_name_and_stamp(world, topics, make_recorder):
    recorder = make_recorder(["cat"], min_frames=1)
    sent = messages("cat", Time(sec=12, nanosec=34))
    for key, message in sent.items():
        if key in topics:
            topics[key].publish(message)
    world.spin_until(lambda: recorder.num_frames == 1, "a complete frame")
    frame = recorder.recorded["cat"]
    assert frame.stamp_ns == 12_000_000_034
    assert {key: frame.message(key) for key in TOPICS} == {key: sent[key] for key in TOPICS}


def test_no_more_frames_are_kept_than_memory_is_for(monkeypatch, world):
    monkeypatch.setattr("ppd_ros.recorder.MAX_KEPT", 2)
    recorder = world.add(
        lambda context: Recorder(["table"], min_frames=9, has_truth=True, context=context)
    )
    for second in range(9):
        recorder._finish(frame_of(messages("table", Time(sec=second))))
    assert recorder.is_done and len(recorder.kept) == 2


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
    frame = frame_of(messages("cat", Header().stamp))
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
    row = write_frame(frame_of(sent), tmp_path)
    assert row["points"] == 0
    assert row["depth_p50_m"] is None
    assert "cat" in table({**SUMMARY, "photos": [row]})


@pytest.fixture
def no_rendering(monkeypatch):
    def render_cloud(points, colors, *, width, height, **view):
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr("ppd_ros.comparison.render_cloud", render_cloud)


def frames_of(*depths):
    """Frames whose truth is 3 m everywhere, a second apart."""
    frames = []
    for second, depth_m in enumerate(depths):
        sent = messages("table", Time(sec=second))
        depth = np.full((6, 8), depth_m, np.float32)
        sent["depth"] = depth_to_image(depth, sent["image"].header)
        frames.append(frame_of(sent))
    return frames


def test_errors_are_means_over_the_frames_that_have_metres(tmp_path, no_rendering):
    errors = write_against_truth(frames_of(3.3, 3.6, math.nan), tmp_path, "nano")
    assert errors["absrel"] == pytest.approx(0.15, abs=1e-4)
    assert errors["rmse_m"] == pytest.approx(0.45, abs=1e-4)
    assert (errors["frames"], errors["frames_without_metres"]) == (3, 1)
    with PIL.Image.open(tmp_path / "demo.gif") as animation:
        assert animation.n_frames == 3
    nothing = write_against_truth(frames_of(math.nan), tmp_path, "nano")
    assert nothing["absrel"] is None
    json.dumps(nothing, allow_nan=False)


def test_still_scene_has_no_animation(tmp_path, no_rendering):
    write_against_truth(frames_of(3.0, 3.0), tmp_path, "nano", is_still=True)
    assert {path.name for path in tmp_path.iterdir()} == {"story.png", "cloud.ply", "truth.ply"}


def test_four_views_are_of_the_frame_s_sensor_and_compared_with_the_node_s_depth(
    tmp_path, no_rendering
):
    z = np.linspace(1, 3, 24 * 32, dtype=np.float32).reshape(24, 32)
    sent = messages("table", Time(), height=24, width=32)
    header = sent["image"].header
    sent["sensor"] = depth_to_image(z, header)
    sent["truth"] = depth_to_image(z / 1.1, header)
    sent["depth"] = depth_to_image(1.02 * z, header)

    def estimate(image):
        relative = torch.from_numpy((np.log1p(z) - 0.4) / 1.25)
        return DepthResult(relative, relative, torch.ones(24, 32, dtype=torch.bool))

    constant = alignment_from_range(0.5, 3.5)
    figures = write_views(frame_of(sent), tmp_path, estimate, constant, "nano")
    sensor, *_, local = figures["views"]
    assert (sensor["view"], local["view"]) == ("sensor", "local")
    assert sensor["absrel"] == pytest.approx(0.1, abs=1e-4)
    assert local["absrel"] == pytest.approx(0.1, abs=0.01)
    assert figures["node_difference"] == pytest.approx(0.02, abs=0.005)
    assert read_image(tmp_path / "alignment.png").std() > 1
    json.dumps(figures, allow_nan=False)


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
    errors = {
        **{"absrel": 0.0312, "rmse_m": 0.14, "delta1": 0.98},
        **{"frames": 20, "frames_without_metres": 0},
    }
    text = table({**SUMMARY, "against_truth": errors})
    assert "nothing fitted to it: AbsRel 0.0312, RMSE 0.140 m, delta1 0.9800" in text
    assert "(mean of 20 frames)" in text
    assert "photo " not in text


def test_table_says_how_many_frames_had_no_metres():
    errors = {"absrel": 0.03, "rmse_m": 0.1, "delta1": 0.9, "frames": 5}
    text = table({**SUMMARY, "against_truth": {**errors, "frames_without_metres": 2}})
    assert "(mean of 3 frames; 2 of 5 frames have no metres)" in text
    nothing = {"absrel": None, "rmse_m": None, "delta1": None, "frames": 5}
    text = table({**SUMMARY, "against_truth": {**nothing, "frames_without_metres": 5}})
    assert "against the exact depth; 5 of 5 frames have no metres" in text


def test_table_says_the_four_views_or_why_there_are_none():
    figures = {"absrel": 0.01, "rmse_m": 0.2, "flying_share": 0.11, "valid_share": 0.9}
    views = [
        {"title": "sensor", **figures, "absrel_in_holes": None},
        {"title": "constant", **figures, "absrel_in_holes": 0.5},
        {"title": "field", "absrel": None, "refusal": "near is far"},
    ]
    text = table({**SUMMARY, "four_views": {"views": views, "node_difference": 0.0012}})
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert rows["sensor"].split()[1:] == ["0.010", "none", "0.200", "11.0%", "90.0%"]
    assert rows["constant"].split()[1:] == ["0.010", "0.500", "0.200", "11.0%", "90.0%"]
    assert rows["field"].endswith("NO METRES: near is far")
    assert "0.12%" in text
    assert "the node" not in table(
        {**SUMMARY, "four_views": {"views": [], "node_difference": None}}
    )


def test_table_says_the_figures_and_the_note():
    text = table(SUMMARY)
    assert "9 images received, 3 frames with depth" in text
    assert "1.5 frames/s" in text
    assert "depth 10/20 ms" in text
    assert text.endswith("not depth")
