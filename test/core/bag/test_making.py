from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from ppd_core.bag import making
from ppd_core.bag.messages import (
    message_to_depth,
    message_to_intrinsics,
    message_to_rgb,
    stamp_ns,
)
from ppd_core.bag.typestore import typestore
from ppd_core.camera_info import info_for_image, intrinsics_from_info, rectified_info
from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject, pack_xyzrgb
from ppd_core.types import Intrinsics

STAMP_NS = 1_700_000_000_123_456_789
CAMERA = Intrinsics(8, 6, 10.0, 11.0, 3.4, 2.6, "plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def header():
    return making.make_header(STAMP_NS, "camera")


def test_a_header_keeps_its_stamp_to_the_nanosecond(header):
    assert stamp_ns(making.rgb_message(np.zeros((2, 2, 3), np.uint8), header)) == STAMP_NS
    assert header.frame_id == "camera"


@pytest.mark.parametrize("wrong_ns", [-1, 2**31 * 10**9])
def test_a_stamp_that_ros_cannot_have_is_told(wrong_ns):
    with pytest.raises(ValueError, match=r"stamp must be in \[0, 2\*\*31\) seconds"):
        making.make_header(wrong_ns, "camera")


def test_colours_come_back(header):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(message_to_rgb(making.rgb_message(rgb[:, ::-1], header)), rgb[:, ::-1])


def test_metres_come_back_and_what_is_none_does_not(header):
    depth = torch.tensor([[1.25, torch.nan, torch.inf], [-torch.inf, 0.0, -1.0]])
    message = making.depth_message(depth, header)
    values = np.frombuffer(message.data, "<f4").reshape(2, 3)
    nan = np.nan
    expected = np.array([[1.25, nan, np.inf], [-np.inf, nan, nan]], np.float32)
    assert np.array_equal(values, expected, equal_nan=True)
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 12, 0)
    assert np.array_equal(message_to_depth(message)[0, :1], [1.25])


def test_relative_depth_may_be_negative(header):
    message = making.depth_message(torch.tensor([[-0.25, 0.0]]), header, is_metric=False)
    assert np.array_equal(np.frombuffer(message.data, "<f4"), [-0.25, 0.0])


def test_millimetres_are_rounded_and_holes_are_zero(header):
    depth = np.array([[1.2345, 1.2356, np.nan, np.inf, 65.535, 65.536, -1.0]], np.float32)
    message = making.depth_mm_message(depth, header)
    values = np.frombuffer(message.data, "<u2")
    assert values.tolist() == [1234, 1236, 0, 0, 65535, 0, 0]


def test_what_went_in_is_not_changed(header):
    depth = torch.tensor([[-1.0, 2.0]])
    making.depth_message(depth, header)
    making.depth_mm_message(depth, header)
    assert depth.tolist() == [[-1.0, 2.0]]


def test_a_cloud_has_the_points_of_its_depth(header):
    depth = torch.full((6, 8), 2.0)
    depth[1, 2] = torch.nan
    rays = ray_table(CAMERA, "cpu")
    packed = pack_xyzrgb(depth, rays, torch.zeros(6, 8, 3, dtype=torch.uint8))
    message = making.cloud_message(packed, header)
    points = backproject(depth, rays).reshape(-1, 3)
    assert np.array_equal(xyz_of_cloud(message), points.numpy(), equal_nan=True)
    assert message.is_dense is False
    assert (message.height, message.width) == (6, 8)
    assert message.row_step * message.height == len(message.data)


def test_a_cloud_is_not_copied(header):
    packed = np.zeros((2, 3, 4), np.float32)
    message = making.cloud_message(packed, header)
    assert np.shares_memory(message.data, packed)


@pytest.mark.parametrize("packed", [np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 4))])
def test_points_that_are_not_packed_are_told(packed, header):
    with pytest.raises(ValueError, match=r"packed must be \(H, W, 4\) float32, got \(2, 3"):
        making.cloud_message(packed, header)


def test_a_camera_comes_back(header):
    info = making.info_message(CAMERA, header)
    assert message_to_intrinsics(info, 8, 6) == CAMERA
    assert intrinsics_from_info(info, 8, 6) == CAMERA
    assert np.reshape(info.p, (3, 4))[:, :3].ravel().tolist() == info.k.tolist()


def test_a_calibration_with_a_region_and_binning_is_brought_to_its_image(header):
    info = making.info_message(CAMERA, header)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 2, 1, 4, 4
    info.binning_x = info.binning_y = 2
    k = info.k.copy()
    brought = info_for_image(info, making.make_header(0, "other"), 2, 2)
    assert (brought.width, brought.height, brought.binning_x) == (2, 2, 0)
    assert (brought.roi.x_offset, brought.roi.width, brought.roi.height) == (0, 0, 0)
    assert brought.header.frame_id == "other"
    # A pixel is two wide now, and they begin half a pixel before their centre.
    expected = Intrinsics(
        2,
        2,
        5.0,
        5.5,
        (3.4 - 2 + 0.5) / 2 - 0.5,
        (2.6 - 1 + 0.5) / 2 - 0.5,
        CAMERA.distortion_model,
        CAMERA.distortion,
    )
    found = intrinsics_from_info(info, 2, 2)
    assert intrinsics_from_info(brought, 2, 2) == found
    assert (found.fx, found.fy, found.cx, found.cy) == pytest.approx(
        (expected.fx, expected.fy, expected.cx, expected.cy)
    )
    assert found.distortion == expected.distortion
    # What came in stays.
    assert np.array_equal(info.k, k)
    assert (info.roi.width, info.binning_x, info.header.frame_id) == (4, 2, "camera")


def test_a_rectified_calibration_can_be_written(header):
    info = rectified_info(making.info_message(CAMERA, header))
    ideal = intrinsics_from_info(info, 8, 6)
    assert not ideal.is_distorted
    store = typestore()
    octets = store.serialize_cdr(info, info.__msgtype__)
    assert np.array_equal(store.deserialize_cdr(octets, info.__msgtype__).d, np.zeros(5))
