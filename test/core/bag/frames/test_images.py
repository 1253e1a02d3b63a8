"""Images of a recording: each comes once and in order, and is read when it is asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppd_core.alignment.anchors import Anchors
from ppd_core.types import AlignmentError

from .conftest import (
    CHOSEN,
    HEIGHT,
    IMAGES_ONLY,
    MS,
    START_MS,
    WIDTH,
    T,
    at,
    depth,
    evidence,
    header,
    image,
    info,
    ran,
    stream,
    transforms,
)


def test_images_alone_come_at_once_and_in_order():
    done = ran(stream(5, CHOSEN.image, lambda ms: image(ms, ms % 251)), chosen=IMAGES_ONLY)
    assert [frame.index for frame in done.frames] == [0, 1, 2, 3, 4]
    assert done.came_after == [1, 2, 3, 4, 5]
    assert [frame.stamp_ns for frame in done.frames] == [
        (START_MS + 100 * step) * MS for step in range(5)
    ]
    assert done.frames[2].rgb()[0, 0, 0] == (START_MS + 200) % 251
    assert done.frames[0].intrinsics(WIDTH, HEIGHT) is None
    assert done.report.num_no_camera == 5


def test_images_of_changing_size_keep_theirs():
    sizes = [(6, 8), (4, 4), (6, 8)]
    entries = [at(i, CHOSEN.image, image(START_MS + i, size=size)) for i, size in enumerate(sizes)]
    shapes = [frame.rgb().shape for frame in ran(entries, chosen=IMAGES_ONLY).frames]
    assert shapes == [(*size, 3) for size in sizes]


def test_the_log_time_is_not_the_stamp():
    (frame,) = ran([(99_000, CHOSEN.image, image(START_MS))], chosen=IMAGES_ONLY).frames
    assert (frame.log_ns, frame.stamp_ns) == (99_000 * MS, START_MS * MS)


def test_compressed_images_stay_compressed_until_they_are_asked_for():
    picture = np.full((HEIGHT, WIDTH, 3), (30, 20, 10), np.uint8)
    png = cv2.imencode(".png", picture)[1]
    message = T["CompressedImage"](header=header(START_MS), format="png", data=png.ravel())
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    assert len(frame.image.data) == len(png)
    assert frame.rgb()[0, 0].tolist() == [10, 20, 30]


def test_a_damaged_image_is_a_frame_with_a_problem():
    entries = [
        at(0, CHOSEN.image, image(START_MS)),
        at(100, CHOSEN.image, b"\0\1\0\0damaged"),
        at(200, CHOSEN.image, image(START_MS + 200)),
    ]
    done = ran(entries, chosen=IMAGES_ONLY)
    assert [bool(frame.problem) for frame in done.frames] == [False, True, False]
    with pytest.raises(ValueError, match="damaged message"):
        done.frames[1].rgb()
    assert done.report.num_unreadable == 1
    assert done.frames[1].time_ns == (START_MS + 100) * MS


def test_an_image_that_cannot_be_decoded_says_so_when_it_is_asked_for():
    broken = T["CompressedImage"](
        header=header(START_MS), format="jpeg", data=np.arange(9, dtype=np.uint8)
    )
    (frame,) = ran([at(0, CHOSEN.image, broken)], chosen=IMAGES_ONLY).frames
    assert frame.problem == ""
    with pytest.raises(ValueError):
        frame.rgb()


@pytest.mark.parametrize(
    ("encoding", "step", "rows"),
    [("nv12", 1, 9), ("mono16", 2, 6), ("bayer_rggb16", 2, 6), ("yuv422_yuy2", 2, 6)],
)
def test_what_only_some_cameras_send_is_read_as_the_node_reads_it(encoding, step, rows):
    data = np.full(rows * WIDTH * step, 128, np.uint8)
    message = image(START_MS, encoding=encoding, step=WIDTH * step, data=data)
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    # Grey of half the brightness, by full or limited range.
    assert frame.rgb().shape == (HEIGHT, WIDTH, 3)
    assert np.abs(frame.rgb().astype(int) - 129).max() <= 2


@pytest.mark.parametrize("encoding", ["8UC3", "16UC3"])
def test_colours_of_opencv_s_own_types_are_blue_green_red(encoding):
    size = 2 if encoding.startswith("16") else 1
    data = np.tile(np.repeat(np.array([30, 20, 10], np.uint8), size), HEIGHT * WIDTH)
    message = image(START_MS, encoding=encoding, step=3 * size * WIDTH, data=data)
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    assert (frame.rgb() == [10, 20, 30]).all()


def test_a_jpeg_that_was_cut_off_is_no_grey_picture():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].ravel()
    message = T["CompressedImage"](header=header(START_MS), format="jpeg", data=jpeg[:-500])
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    with pytest.raises(ValueError, match="damaged"):
        frame.rgb()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["image", "depth", "tf", "info", "damage"]),
            st.integers(0, 100_000),
            st.integers(-2_000, 2_000),
        ),
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_recording_holds_every_image_comes_once_and_in_order(chaos):
    log_ms, entries = 50_000, []
    for kind, stamp_ms, step_ms in chaos:
        log_ms += step_ms
        entries.append(
            {
                "image": (log_ms, CHOSEN.image, image(stamp_ms)),
                "depth": (log_ms, CHOSEN.depth, depth(stamp_ms)),
                "tf": (log_ms, "/tf", transforms(stamp_ms, "world", "camera", (0, 0, 0))),
                "info": (log_ms, CHOSEN.camera_info, info(stamp_ms)),
                "damage": (log_ms, CHOSEN.image, b"\0\1\0\0damaged"),
            }[kind]
        )
    logs = [log * MS for log, topic, _ in entries if topic == CHOSEN.image]
    for source in ("depth", "lidar"):
        frames = ran(entries, source).frames
        assert [frame.log_ns for frame in frames] == logs
        assert [frame.index for frame in frames] == list(range(len(logs)))
        for frame in frames:
            assert isinstance(evidence(frame), Anchors | AlignmentError)
