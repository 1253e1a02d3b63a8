from __future__ import annotations

import numpy as np
import pytest

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.sensors import (
    OTHER_CLOCK_S,
    cloud_anchors,
    offset_text,
    sensor_image_anchors,
)
from ppd_core.geometry.rectify import rectification
from ppd_core.geometry.rigid import rigid_transform
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
