"""Clouds of a scanner, brought to the camera by the transforms of the recording."""

from __future__ import annotations

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.bag.frames import RecordedFrameSettings, recorded_frames
from ppd_core.bag.reader import BagReader
from ppd_core.bag.static import read_static
from ppd_core.bag.topics import choose_topics

from .conftest import (
    CHOSEN,
    MS,
    START_MS,
    STORE,
    at,
    cloud,
    evidence,
    image,
    info,
    merged,
    ran,
    stream,
    transforms,
)

GRID = [(x / 50, y / 50, z) for x in range(-2, 3) for y in range(-2, 3) for z in (2.0,)] * 4
"""Metres in front of the camera, inside the image of `info`."""


def lidar_entries(num=3, *, tf_late_ms=80):
    """The scanner is 1 m behind the camera, which moves off at 1 m/s on its own axis."""
    # Places in world: camera at z = t, scanner at -1.
    return merged(
        [at(-50, "/tf_static", transforms(0, "world", "lidar", (0, 0, -1)))],
        [at(-40, CHOSEN.camera_info, info(START_MS))],
        stream(num, CHOSEN.image, image),
        stream(num, CHOSEN.lidar, lambda ms: cloud(ms, GRID), first_ms=10),
        [
            (
                START_MS + step * 50 - 100 + tf_late_ms,
                "/tf",
                transforms(
                    START_MS + step * 50 - 100,
                    "world",
                    "camera",
                    (0, 0, step * 0.05 - 0.1),
                ),
            )
            for step in range(2 * num + 6)
        ],
    )


def lidar_config():
    return AlignmentConfig(min_samples=10)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_cloud_is_brought_to_the_camera_by_transforms_that_come_later(is_prepared):
    done = ran(lidar_entries(), "lidar", config=lidar_config(), is_prepared=is_prepared)
    for step, frame in enumerate(done.frames):
        found = evidence(frame)
        assert isinstance(found, Anchors) and found.source == "lidar", found
        # 2 m from the scanner at -1, seen from where the camera is at its own stamp.
        assert found.depth.numpy() == pytest.approx(1 - 0.1 * step, abs=1e-5)
    assert done.report.nearest == 3 and done.report.num_no_transform == 0


def test_a_fixed_frame_takes_out_what_the_camera_moved_between_scan_and_image():
    entries = [
        one if one[1] != CHOSEN.lidar else (*one[:2], cloud(one[0], GRID, frame_id="camera"))
        for one in lidar_entries()
    ]
    config = lidar_config()
    same = ran(entries, "lidar", config=config).frames[1]
    assert evidence(same).depth.numpy() == pytest.approx(2.0)
    fixed = ran(entries, "lidar", config=config, fixed_frame="world").frames[1]
    # The scan is of 10 ms later, at 1 m/s: 1 cm farther on.
    assert evidence(fixed).depth.numpy() == pytest.approx(2.01, abs=1e-5)


def test_a_recording_on_disk_gives_the_same_frames(tmp_path):
    entries = lidar_entries()
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        known = {}
        for log_ms, topic, message in entries:
            kind = message.__msgtype__
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(known[topic], log_ms * MS, STORE.serialize_cdr(message, kind))
    wanted = RecordedFrameSettings(source="lidar", config=lidar_config())
    with BagReader(tmp_path / "bag") as reader:
        chosen = choose_topics(reader.topics, source="lidar")
        static = read_static(reader, chosen)
        frames = list(recorded_frames(reader, chosen, wanted, static=static))
    assert (chosen.image, chosen.lidar) == (CHOSEN.image, CHOSEN.lidar)
    made = ran(entries, "lidar", config=lidar_config()).frames
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in made]
    for read, direct in zip(frames, made, strict=True):
        assert (read.rgb() == direct.rgb()).all()
        assert evidence(read).depth.equal(evidence(direct).depth)


def test_a_cloud_without_a_transform_or_a_calibration_says_so():
    entries = lidar_entries()
    without_tf = [one for one in entries if one[1] != "/tf"]
    done = ran(without_tf, "lidar", config=lidar_config())
    assert [evidence(frame).reason for frame in done.frames] == ["no_transform"] * 3
    assert "'camera'" in str(evidence(done.frames[0])) and done.report.num_no_transform == 3
    without_info = [one for one in entries if one[1] != CHOSEN.camera_info]
    done = ran(without_info, "lidar", config=lidar_config())
    assert [evidence(frame).reason for frame in done.frames] == ["no_camera"] * 3


def test_a_looped_recording_uses_the_transforms_of_each_round():
    first = lidar_entries(30)
    again = [(log + 4_000, topic, message) for log, topic, message in first]
    done = ran([*first, *again], "lidar", config=lidar_config())
    assert len(done.frames) == 60 and done.report.num_restarts == 1
    assert done.report.num_no_transform == 0
    seen = [float(evidence(frame).depth.max()) for frame in done.frames[:5] + done.frames[30:35]]
    assert seen == pytest.approx([1, 0.9, 0.8, 0.7, 0.6] * 2, abs=1e-5)
