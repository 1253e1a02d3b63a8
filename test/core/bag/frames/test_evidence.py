"""What a frame knows of its metres, by a depth image or without a sensor."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.types import AlignmentError, Intrinsics

from .conftest import (
    CHOSEN,
    HEIGHT,
    START_MS,
    WIDTH,
    T,
    at,
    depth,
    evidence,
    header,
    image,
    info,
    merged,
    ran,
    stream,
)


@pytest.mark.parametrize("source", ["depth", "lidar"])
def test_a_damaged_image_has_no_evidence_of_a_sensor(source):
    (frame,) = ran([at(0, CHOSEN.image, b"\0\1\0\0damaged")], source).frames
    found = frame.evidence(HEIGHT, WIDTH, intrinsics=Intrinsics.from_fov(WIDTH, HEIGHT, 60))
    assert found.reason == "unpaired"


def test_compressed_depth_is_millimetres_or_unreadable():
    png = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 1500, np.uint16))[1].ravel()
    whole = np.concatenate([np.zeros(12, np.uint8), png])
    for data, expected in ((whole, [1.5]), (whole[:-30], "unreadable"), (png[:5], "unreadable")):
        message = T["CompressedImage"](
            header=header(START_MS), format="16UC1; compressedDepth png", data=data
        )
        entries = [at(0, CHOSEN.depth, message), at(1, CHOSEN.image, image(START_MS))]
        found = evidence(ran(entries, "depth").frames[0])
        seen = found.reason if isinstance(found, AlignmentError) else found.depth.unique().tolist()
        assert seen == expected


def test_depth_evidence_is_of_the_messages_own_metres():
    entries = [at(0, CHOSEN.depth, depth(START_MS, 2.5)), at(1, CHOSEN.image, image(START_MS))]
    found = evidence(ran(entries, "depth").frames[0])
    assert isinstance(found, Anchors) and found.source == "depth"
    assert found.depth.unique().tolist() == [2.5]
    assert (found.height, found.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (depth(START_MS, metres=2500.0), "wrong_unit"),
        (image(START_MS, encoding="8UC3"), "unreadable"),
        (depth(START_MS + 900), "unpaired"),
    ],
)
def test_depth_evidence_that_cannot_be_used_says_why(message, reason):
    entries = [at(0, CHOSEN.depth, message), at(1, CHOSEN.image, image(START_MS))]
    found = evidence(ran(entries, "depth").frames[0])
    assert isinstance(found, AlignmentError) and found.reason == reason


def test_a_depth_image_of_another_frame_is_told_of_once():
    entries = merged(
        stream(3, CHOSEN.image, image),
        stream(3, CHOSEN.depth, lambda ms: depth(ms, frame_id="depth_optical")),
    )
    report = ran(entries, "depth").report
    assert len(report.remarks) == 1 and "'depth_optical'" in report.remarks[0]


WIDE = (HEIGHT, 2 * WIDTH)


@pytest.mark.parametrize(
    ("frame_id", "is_recorded", "is_used"),
    [("camera", True, True), ("camera", False, False), ("depth_optical", True, False)],
)
def test_depth_of_other_proportions_is_used_where_its_own_calibration_says_how_it_lies(
    frame_id, is_recorded, is_used
):
    """It shows as much again to the left of the image."""
    own = info(START_MS, header=header(START_MS, frame_id), width=2 * WIDTH)
    own.k[2] += WIDTH
    message = depth(START_MS, frame_id=frame_id, size=WIDE)
    metres = np.tile(np.arange(2 * WIDTH, dtype=np.float32) + 1, (HEIGHT, 1))
    message.data = metres.view(np.uint8).ravel()
    entries = [
        *([at(-1, CHOSEN.depth_info, own)] if is_recorded else []),
        at(0, CHOSEN.depth, message),
        at(0, CHOSEN.camera_info, info(START_MS)),
        at(1, CHOSEN.image, image(START_MS)),
    ]
    done = ran(entries, "depth", is_prepared=True)
    found = evidence(done.frames[0])
    assert any("as its own CameraInfo says" in one for one in done.report.remarks) == is_used
    if not is_used:
        assert found.reason == "not_registered"
        assert "the 8 x 6 image, got 16 x 6" in str(found)
        return
    assert found.depth.tolist() == (found.cols + WIDTH + 1).tolist()


@pytest.mark.parametrize(("encoding", "kind"), [("16UC1", np.uint16), ("32FC1", np.float32)])
def test_depth_in_a_unit_that_is_told(encoding, kind):
    data = np.full((HEIGHT, WIDTH), 12000, kind).view(np.uint8).ravel()
    step = WIDTH * np.dtype(kind).itemsize
    message = image(START_MS, encoding=encoding, step=step, data=data)
    entries = [at(0, CHOSEN.depth, message), at(1, CHOSEN.image, image(START_MS))]
    config = AlignmentConfig(depth_unit_m=0.00025)
    (frame,) = ran(entries, "depth", config=config).frames
    assert evidence(frame).depth.numpy() == pytest.approx(3.0)


def test_constant_and_own_evidence_pass_through():
    constant = alignment_from_range(0.5, 10)
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))], "constant", constant=constant).frames
    assert evidence(frame) is constant
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))], "moge2").frames
    mark = object()
    assert evidence(frame, own_anchors=lambda: mark) is mark
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))]).frames
    with pytest.raises(ValueError, match="'none'"):
        evidence(frame)
