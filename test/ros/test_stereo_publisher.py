from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.data.motorcycle import StereoScene
from ppd_core.depth_reading import image_to_depth
from ppd_core.image_reading import image_to_rgb
from ppd_core.types import Intrinsics
from ppd_ros.stereo_publisher import SCENE, StereoPublisher


@pytest.fixture
def scene():
    truth = np.full((12, 16), 2.5, np.float32)
    truth[0, 0] = np.nan
    sensor_depth = np.full((12, 16), 2.51, np.float32)
    sensor_depth[:, :3] = np.nan
    return StereoScene(
        image=np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8),
        truth=truth,
        sensor_depth=sensor_depth,
        intrinsics=Intrinsics(16, 12, 20.0, 20.0, 7.0, 6.0),
    )


def test_each_frame_is_image_calibration_sensor_and_truth_with_one_header(world, scene):
    kinds = {"image": Image, "camera_info": CameraInfo, "depth_in": Image, "truth": Image}
    received = {name: world.subscribe(kind, f"camera/{name}", 10) for name, kind in kinds.items()}
    world.add(lambda context: StereoPublisher(scene, rate_hz=50.0, context=context))
    world.spin_until(lambda: min(map(len, received.values())) >= 3, "three of each")
    stamped = {
        name: {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in messages}
        for name, messages in received.items()
    }
    together = set.intersection(*(set(messages) for messages in stamped.values()))
    assert together
    frame = {name: messages[min(together)] for name, messages in stamped.items()}
    assert {m.header.frame_id for m in frame.values()} == {f"{SCENE}_optical_frame"}
    assert np.array_equal(image_to_rgb(frame["image"]), scene.image)
    assert frame["depth_in"].encoding == "16UC1"
    np.testing.assert_allclose(image_to_depth(frame["depth_in"]), scene.sensor_depth, atol=1e-3)
    np.testing.assert_array_equal(image_to_depth(frame["truth"]), scene.truth)
    assert intrinsics_from_info(frame["camera_info"], 16, 12) == scene.intrinsics
