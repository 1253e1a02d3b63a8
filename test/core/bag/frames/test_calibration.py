"""Which calibration is in force for an image, and what is known before the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ppd_core.bag.static import read_static

from .conftest import (
    CHOSEN,
    HEIGHT,
    START_MS,
    WIDTH,
    Recording,
    at,
    header,
    image,
    info,
    merged,
    ran,
    stream,
    transforms,
)


def test_a_calibration_at_the_start_is_in_force_throughout_and_nothing_waits():
    entries = [at(-5, CHOSEN.camera_info, info(START_MS - 5)), *stream(6, CHOSEN.image, image)]
    done = ran(entries)
    assert done.came_after == [2, 3, 4, 5, 6, 7]
    assert [frame.intrinsics(WIDTH, HEIGHT).fx for frame in done.frames] == [100.0] * 6


def test_a_calibration_of_half_the_image_is_brought_to_it_and_one_of_another_camera_is_none():
    entries = [
        at(-5, CHOSEN.camera_info, info(START_MS - 5)),
        at(0, CHOSEN.image, image(START_MS)),
    ]
    (frame,) = ran(entries).frames
    assert frame.intrinsics(2 * WIDTH, 2 * HEIGHT).fx == 200.0
    assert frame.camera_problem(WIDTH, HEIGHT) == ""
    assert frame.intrinsics(WIDTH, 3 * HEIGHT) is None
    assert "proportions" in frame.camera_problem(WIDTH, 3 * HEIGHT)
    (frame,) = ran(entries[1:]).frames
    assert frame.camera_problem(WIDTH, HEIGHT) == "no CameraInfo was recorded for it"


def test_frames_before_the_first_calibration_wait_for_it():
    entries = merged(
        stream(5, CHOSEN.image, image), [at(250, CHOSEN.camera_info, info(START_MS + 250))]
    )
    done = ran(entries)
    assert done.came_after == [4, 4, 4, 5, 6]
    assert all(frame.info is not None for frame in done.frames)


def test_the_newest_calibration_at_or_before_an_image_is_in_force():
    entries = merged(
        stream(4, CHOSEN.image, image),
        # Recorded after the image whose stamp it has, and of another zoom each time.
        stream(4, CHOSEN.camera_info, lambda ms: info(ms, focal=float(ms)), late_ms=20),
    )
    focals = [frame.intrinsics(WIDTH, HEIGHT).fx for frame in ran(entries).frames]
    assert focals == [START_MS, START_MS + 100, START_MS + 200, START_MS + 300]


def test_what_stands_still_is_read_without_reading_on():
    entries = [
        at(0, "/tf_static", transforms(0, "world", "lidar", (0, 0, -1))),
        *stream(50, CHOSEN.camera_info, info),
    ]
    reader = Recording(entries)
    static = read_static(reader, CHOSEN)
    assert reader.num_read == 2
    assert len(static.transforms) == 1 and static.info is not None
    unknown = Recording(entries, counts_are_known=False)
    assert len(read_static(unknown, CHOSEN).transforms) == 1
    assert unknown.num_read == 51
    assert read_static(Recording([]), CHOSEN).info is None


P = np.array([80.0, 0, 4, 0, 0, 80, 3, 0, 0, 0, 1, 0])
RECT = replace(CHOSEN, image="/camera/image_rect")


@pytest.mark.parametrize(
    ("chosen", "kind", "is_rectified"),
    [
        (CHOSEN, "auto", False),
        (CHOSEN, "rectified", True),
        (RECT, "auto", True),
        (RECT, "raw", False),
    ],
)
def test_of_an_image_that_is_rectified_p_counts_and_no_distortion(chosen, kind, is_rectified):
    lens = info(START_MS, p=P, d=np.array([-0.3, 0.1, 0, 0, 0]))
    entries = [
        at(-5, chosen.camera_info, lens),
        *(at(step, chosen.image, image(START_MS + step)) for step in (0, 50)),
    ]
    done = ran(entries, chosen=chosen, image_kind=kind)
    camera = done.frames[0].intrinsics(WIDTH, HEIGHT)
    assert camera.is_distorted == (not is_rectified)
    assert camera.fx == (80 if is_rectified else 100)
    is_told = kind == "auto" and is_rectified
    assert ["taken to be rectified" in one for one in done.report.remarks] == [True] * is_told


def test_what_is_odd_about_calibration_and_images_is_told_once():
    entries = [
        at(-5, CHOSEN.camera_info, info(START_MS, k=np.eye(3).ravel(), p=P)),
        *stream(3, CHOSEN.image, lambda ms: image(ms, header=header(ms, ""))),
    ]
    done = ran(entries)
    assert done.frames[0].intrinsics(WIDTH, HEIGHT).fx == 80
    frame_id, calibration = done.report.remarks
    assert "/camera/image_raw has images without a frame_id" in frame_id
    assert "/camera/camera_info: K is zero or the identity" in calibration
