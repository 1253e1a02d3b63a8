from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.sensors import (
    OTHER_CLOCK_S,
    cloud_anchors,
    depth_camera,
    offset_text,
    sensor_image_anchors,
)
from ppd_core.geometry.rectify import rectification
from ppd_core.geometry.rigid import rigid_transform
from ppd_core.message_values import calibration_values
from ppd_core.types import AlignmentError, Intrinsics

HEIGHT, WIDTH = 24, 32
CONFIG = AlignmentConfig(min_samples=10)
CAMERA = Intrinsics.from_fov(WIDTH, HEIGHT, 60)


def test_a_sensors_image_of_half_the_size_gives_samples_at_the_images_pixels():
    depth = np.full((HEIGHT // 2, WIDTH // 2), 3.0, np.float32)
    depth[:, 0] = np.nan
    anchors = sensor_image_anchors(depth, HEIGHT, WIDTH, CONFIG)
    assert (anchors.height, anchors.width, anchors.source) == (HEIGHT, WIDTH, "depth")
    assert anchors.rows.max() == HEIGHT - 1 and anchors.cols.max() == WIDTH - 1
    assert set(anchors.depth[anchors.weight > 0].tolist()) == {3.0}
    assert not anchors.weight[anchors.cols < 2].any()


def test_millimetres_that_say_they_are_metres_are_refused():
    depth = np.full((HEIGHT, WIDTH), 3000.0, np.float32)
    with pytest.raises(AlignmentError) as error:
        sensor_image_anchors(depth, HEIGHT, WIDTH, CONFIG)
    assert error.value.reason == "wrong_unit"
    assert "alignment.depth_unit_m" in str(error.value)


@pytest.mark.parametrize("size", [(HEIGHT, HEIGHT), (HEIGHT // 2, WIDTH), (90, 160)])
def test_depth_of_other_proportions_is_refused_with_both_sizes(size):
    depth = np.full(size, 3.0, np.float32)
    with pytest.raises(AlignmentError) as error:
        sensor_image_anchors(depth, HEIGHT, WIDTH, CONFIG)
    assert error.value.reason == "not_registered"
    assert f"{WIDTH} x {HEIGHT}" in str(error.value)
    assert f"{size[1]} x {size[0]}" in str(error.value)


@pytest.mark.parametrize("size", [(480, 848), (12, 21), (240, 424)])
def test_sides_that_were_rounded_are_no_other_proportions(size):
    sensor_image_anchors(np.full(size, 3.0, np.float32), 720, 1280, CONFIG)


def test_a_crop_gives_samples_where_its_own_camera_says():
    """The middle columns of the image, in twice its resolution: metres tell the column."""
    own = Intrinsics(2 * HEIGHT, 2 * HEIGHT, 2 * CAMERA.fx, 2 * CAMERA.fy, 23.5, 23.5)
    left = (WIDTH - HEIGHT) // 2
    depth = np.tile(np.arange(2 * HEIGHT, dtype=np.float32) // 2 + 1, (2 * HEIGHT, 1))
    anchors = sensor_image_anchors(depth, HEIGHT, WIDTH, CONFIG, cameras=(own, CAMERA))
    is_seen = anchors.depth.isfinite()
    assert is_seen.sum() == HEIGHT * HEIGHT
    assert anchors.depth[is_seen].tolist() == (anchors.cols[is_seen] - left + 1).tolist()


def message(frame_id="camera"):
    return SimpleNamespace(header=SimpleNamespace(frame_id=frame_id))


def info(frame_id="camera", **changes):
    values = calibration_values(CAMERA) | {"binning_x": 0, "binning_y": 0}
    return SimpleNamespace(
        **message(frame_id).__dict__, roi=SimpleNamespace(width=0, height=0), **values | changes
    )


def test_a_depth_camera_is_known_by_a_calibration_of_the_images_frame():
    size = (HEIGHT, WIDTH)
    assert depth_camera(message(), info(), "camera", size=size) == CAMERA
    assert depth_camera(message(), None, "camera", size=size) is None
    assert depth_camera(message(), info(), "color", size=size) is None
    assert depth_camera(message("ir"), info(), "camera", size=size) is None
    assert depth_camera(message(), info(), "camera", size=(HEIGHT, HEIGHT)) is None


def test_depth_of_the_raw_camera_goes_through_the_images_rectification():
    raw = Intrinsics(
        WIDTH, HEIGHT, 28.0, 28.0, 15.5, 11.5, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0)
    )
    ideal = Intrinsics(WIDTH, HEIGHT, 28.0, 28.0, 15.5, 11.5)
    made = rectification(raw, ideal)
    # Metres that tell the raw column they are from.
    depth = np.tile(np.arange(WIDTH, dtype=np.float32) + 1, (HEIGHT, 1))
    anchors = sensor_image_anchors(depth, HEIGHT, WIDTH, CONFIG, rectification=made)
    is_seen = anchors.depth.isfinite()
    columns = made.columns[anchors.rows[is_seen], anchors.cols[is_seen]]
    assert anchors.depth[is_seen].numpy() - 1 == pytest.approx(columns, abs=0.51)
    assert not np.allclose(columns, anchors.cols[is_seen], atol=0.6)


def test_a_cloud_falls_on_the_pixels_that_its_matrix_says():
    # In the scanner's frame (x forward, z up) 20 points straight ahead, 2 m to 4 m away.
    xyz = np.stack([np.linspace(2, 4, 20), np.zeros(20), np.zeros(20)], axis=1)
    forward_is_z = rigid_transform((0, 0, 1.0), (0.5, -0.5, 0.5, 0.5))
    anchors = cloud_anchors(xyz.astype(np.float32), forward_is_z, CAMERA, CONFIG)
    assert anchors.source == "lidar"
    assert anchors.depth.numpy() == pytest.approx(np.linspace(3, 5, 20))
    assert {*anchors.rows.tolist()} <= {11, 12} and {*anchors.cols.tolist()} <= {15, 16}


def test_a_cloud_behind_the_camera_is_refused_by_name():
    xyz = np.full((20, 3), -2.0, np.float32)
    with pytest.raises(AlignmentError) as error:
        cloud_anchors(xyz, np.eye(4), CAMERA, CONFIG)
    assert error.value.reason == "behind_camera"


@pytest.mark.parametrize(
    ("offset_s", "text"),
    [
        (None, "none can be paired"),
        (0.25, "the nearest is 0.25 s after the image"),
        (-0.25, "the nearest is 0.25 s before the image"),
        (2 * OTHER_CLOCK_S, "the nearest is 120 s after the image: another clock?"),
    ],
)
def test_the_distance_of_a_message_in_words(offset_s, text):
    assert offset_text(offset_s) == text
