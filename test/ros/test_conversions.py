from __future__ import annotations

import array
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from ppd_core.depth_reading import image_to_depth
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.ranges import limit_range
from ppd_core.image_reading import image_to_rgb
from ppd_core.types import (
    ALIGNMENT_FAILURES,
    ALIGNMENT_STATES,
    Alignment,
    AlignmentError,
    Intrinsics,
)
from ppd_ros import conversions
from ppd_ros.conversions import (
    alignment_to_message,
    alignment_type,
    cloud_to_points,
    depth_to_cloud,
    depth_to_image,
    depth_to_image_mm,
    points_to_cloud,
    rgb_to_image,
)

HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec = 7
HEADER.stamp.nanosec = 8


def image_message(encoding, rows, *, width, padding=0):
    """An image whose rows are the given bytes, each followed by `padding` bytes of 255."""
    data = b"".join(bytes(row) + b"\xff" * padding for row in rows)
    message = Image(height=len(rows), width=width, encoding=encoding)
    message.step = len(rows[0]) + padding
    message.data = array.array("B", data)
    return message


def test_rgb_image_round_trip():
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = rgb_to_image(rgb[:, ::-1], HEADER)
    assert (message.width, message.height, message.step) == (3, 2, 9)
    assert message.encoding == "rgb8"
    assert np.array_equal(image_to_rgb(message), rgb[:, ::-1])


def test_depth_image_is_32fc1_little_endian_with_the_header():
    message = depth_to_image(np.array([[1.5, 2.5, 3.5]], np.float32), HEADER)
    assert message.header == HEADER
    assert message.encoding == "32FC1"
    assert (message.width, message.height, message.step) == (3, 1, 12)
    assert message.is_bigendian == 0
    assert struct.unpack("<3f", message.data.tobytes()) == (1.5, 2.5, 3.5)


def test_depth_image_keeps_nan_and_infinities():
    depth = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    assert np.array_equal(image_to_depth(depth_to_image(depth, HEADER)), depth, equal_nan=True)


def test_relative_depth_may_be_zero_and_below():
    depth = np.array([[-0.2, 0.0, 0.7]], np.float32)
    assert np.array_equal(image_to_depth(depth_to_image(depth, HEADER, is_metric=False)), depth)


def test_depth_image_never_has_zero_or_negative_metres():
    depth = np.array([[0.0, -0.0, -0.25, 1e-6]], np.float32)
    sent = image_to_depth(depth_to_image(depth, HEADER))
    assert np.isnan(sent[0, :3]).all()
    assert sent[0, 3] == np.float32(1e-6)


def test_depth_image_leaves_the_array_as_it_was():
    depth = np.array([[-1.0]], np.float32)
    depth_to_image(depth, HEADER)
    assert depth[0, 0] == -1.0


def test_image_to_depth_reads_padding_and_big_endian():
    message = image_message("32FC1", [struct.pack(">2f", 1.5, 2.5)], width=2, padding=4)
    message.is_bigendian = 1
    assert image_to_depth(message).tolist() == [[1.5, 2.5]]


def test_image_to_depth_refuses_another_encoding():
    with pytest.raises(ValueError, match="encoding must be 32FC1 or 16UC1 or mono16, got 'rgb8'"):
        image_to_depth(Image(encoding="rgb8", width=1, height=1, step=3))


def test_sensor_depth_is_16uc1_millimetres_with_the_header():
    message = depth_to_image_mm(np.array([[1.5, 0.0004, 65.535]], np.float32), HEADER)
    assert message.header == HEADER
    assert message.encoding == "16UC1"
    assert (message.width, message.height, message.step) == (3, 1, 6)
    assert struct.unpack("<3H", message.data.tobytes()) == (1500, 0, 65535)


def test_sensor_depth_that_millimetres_do_not_hold_is_a_hole():
    depth = np.array([[np.nan, np.inf, -np.inf, -1.0, 65.6, 2.0]], np.float32)
    sent = image_to_depth(depth_to_image_mm(depth, HEADER))
    assert sent.dtype == np.float32
    assert np.array_equal(sent, np.array([[np.nan] * 5 + [2.0]]), equal_nan=True)


def test_sensor_depth_is_read_with_padding_and_big_endian():
    message = image_message("16UC1", [struct.pack(">2H", 1500, 0)], width=2, padding=2)
    message.is_bigendian = 1
    assert np.array_equal(image_to_depth(message), [[1.5, np.nan]], equal_nan=True)


def small_cloud():
    """(1, 2) points, the second invalid, and their colours."""
    points = np.array([[[1.0, 2.0, 3.0], [np.nan] * 3]], np.float32)
    colors = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    return points, colors


def test_cloud_layout_is_the_documented_one():
    cloud = points_to_cloud(*small_cloud(), HEADER)
    assert cloud.header == HEADER
    assert (cloud.height, cloud.width) == (1, 2)
    assert (cloud.point_step, cloud.row_step) == (16, 32)
    assert not cloud.is_bigendian
    assert not cloud.is_dense
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, PointField.FLOAT32, 1),
        ("y", 4, PointField.FLOAT32, 1),
        ("z", 8, PointField.FLOAT32, 1),
        ("rgb", 12, PointField.FLOAT32, 1),
    ]


def test_cloud_bytes_are_xyz_and_packed_rgb():
    cloud = points_to_cloud(*small_cloud(), HEADER)
    x, y, z, rgb = struct.unpack_from("<3fI", cloud.data.tobytes())
    assert (x, y, z) == (1.0, 2.0, 3.0)
    assert rgb == 10 << 16 | 20 << 8 | 30
    assert np.isnan(struct.unpack_from("<3f", cloud.data.tobytes(), 16)).all()


def test_cloud_round_trip():
    points, colors = small_cloud()
    read_points, read_colors = cloud_to_points(points_to_cloud(points, colors, HEADER))
    assert np.array_equal(read_points, points, equal_nan=True)
    assert np.array_equal(read_colors, colors)


def test_unorganized_cloud_is_one_dense_row_of_the_valid_points():
    cloud = points_to_cloud(*small_cloud(), HEADER, is_organized=False)
    assert (cloud.height, cloud.width, cloud.row_step) == (1, 1, 16)
    assert cloud.is_dense
    points, colors = cloud_to_points(cloud)
    assert points.tolist() == [[[1.0, 2.0, 3.0]]]
    assert colors.tolist() == [[[10, 20, 30]]]


def test_unorganized_cloud_without_a_valid_point_is_empty():
    points = np.full((2, 3, 3), np.nan, np.float32)
    cloud = points_to_cloud(points, np.zeros((2, 3, 3), np.uint8), HEADER, is_organized=False)
    assert (cloud.height, cloud.width, len(cloud.data)) == (1, 0, 0)


def seen(height=7, width=10):
    """Depth with holes and beyond all ranges, the rays of its pixels, and their colours."""
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(height, width, generator=generator)
    depth.view(-1)[::3] = torch.nan
    depth[-1, 1:3] = torch.tensor([torch.inf, -torch.inf])
    colors = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return depth, ray_table(Intrinsics.from_fov(width, height, 70)), colors


@pytest.mark.parametrize("decimation", [1, 2, 3, 20])
@pytest.mark.parametrize("is_organized", [True, False])
def test_the_cloud_of_a_depth_image_is_that_of_its_points(decimation, is_organized):
    depth, rays, colors = seen()
    options = {"is_organized": is_organized}
    cloud = depth_to_cloud(depth, rays, colors, HEADER, decimation=decimation, **options)
    every = slice(None, None, decimation)
    points = backproject(depth, rays)[every, every].numpy()
    plain = points_to_cloud(points, colors[every, every].numpy(), HEADER, **options)
    assert cloud.data.typecode == "B"
    for found, expected in zip(cloud_to_points(cloud), cloud_to_points(plain), strict=True):
        assert np.array_equal(found, expected, equal_nan=True)
    for name in ("header", "height", "width", "fields", "point_step", "row_step", "is_dense"):
        assert getattr(cloud, name) == getattr(plain, name), name


def test_a_decimated_cloud_keeps_the_first_row_and_column_and_rounds_up():
    cloud = depth_to_cloud(*seen(7, 10), HEADER, decimation=4)
    assert (cloud.height, cloud.width, cloud.row_step, cloud.is_dense) == (2, 3, 48, False)
    assert len(cloud.data) == 2 * 48


def test_a_cloud_has_nothing_beyond_the_range_nor_in_the_sky():
    _, rays, colors = seen(1, 5)
    depth = torch.tensor([[0.1, 1.0, 9.0, 2.0, torch.nan]])
    sky = torch.tensor([[False, False, False, True, False]])
    limited = limit_range(depth, 0.5, 5.0, sky)
    points, _ = cloud_to_points(depth_to_cloud(limited, rays, colors, HEADER))
    assert np.isfinite(points).all(axis=-1).tolist() == [[False, True, False, False, False]]
    sent = image_to_depth(depth_to_image(limited, HEADER))
    assert np.array_equal(sent, [[-np.inf, 1.0, np.inf, np.inf, np.nan]], equal_nan=True)
    millimetres = depth_to_image_mm(limited, HEADER).data.tobytes()
    assert struct.unpack("<5H", millimetres) == (0, 1000, 0, 0, 0)


def test_a_cloud_without_a_valid_point_is_empty():
    _, rays, colors = seen()
    nothing = torch.full((7, 10), torch.nan)
    cloud = depth_to_cloud(nothing, rays, colors, HEADER, is_organized=False)
    assert (cloud.height, cloud.width, len(cloud.data), cloud.is_dense) == (1, 0, 0, True)


def test_depth_to_cloud_refuses_a_decimation_of_none():
    with pytest.raises(ValueError, match="step"):
        depth_to_cloud(*seen(), HEADER, decimation=0)


def test_cloud_to_points_refuses_another_layout():
    with pytest.raises(ValueError, match=r"cloud must have little-endian fields"):
        cloud_to_points(PointCloud2(point_step=12))


def test_data_is_assigned_without_a_check_of_each_element():
    # rclpy takes array('B') as it is; `bytes` of a cloud would take seconds.
    points = np.ones((6, 8, 3), np.float32)
    colors = np.ones((6, 8, 3), np.uint8)
    cloud = points_to_cloud(points, colors, HEADER)
    depth = depth_to_image(points[..., 2], HEADER)
    for message in (cloud, depth):
        assert isinstance(message.data, array.array)
        assert message.data.typecode == "B"


class AlignmentMessage:
    """Stands for the message that only colcon builds."""

    STATE_NONE = "none"
    STATE_LOST = "lost"

    def __init__(self, **fields):
        self.__dict__.update(fields)


@pytest.fixture
def built_message(monkeypatch):
    monkeypatch.setattr(conversions, "alignment_type", lambda: AlignmentMessage)


def test_alignment_message_of_a_constant(built_message):
    message = alignment_to_message(Alignment(2.0, 0.5, "constant"), HEADER)
    assert (message.source, message.state) == ("constant", "constant")
    assert (message.scale, message.shift, message.sample_count) == (2.0, 0.5, 0)
    assert np.isnan([message.inlier_ratio, message.rmse_m]).all()
    assert message.header == HEADER


def test_alignment_message_of_relative_depth_has_no_scale(built_message):
    message = alignment_to_message(None, HEADER)
    assert (message.source, message.state) == ("none", "none")
    assert np.isnan([message.scale, message.shift]).all()


def test_alignment_message_of_a_lost_frame_says_why(built_message):
    failure = AlignmentError("few_samples", "wanted 64, got 3")
    message = alignment_to_message(None, HEADER, source="depth", failure=failure)
    assert (message.source, message.state, message.failure) == ("depth", "lost", "few_samples")
    assert np.isnan([message.scale, message.shift]).all()


def test_alignment_message_of_a_fit_has_all_that_is_known_of_it(built_message):
    fitted = Alignment(2.0, 0.5, "depth", "fitted", 0.1, 0.2, 0.9, 0.03, 640, True)
    message = alignment_to_message(fitted, HEADER, source="depth")
    sent = {name: getattr(message, name) for name in vars(fitted)}
    assert sent == vars(fitted)
    assert message.failure == ""


def test_the_definition_has_the_fields_that_are_sent_and_the_states_that_occur(built_message):
    text = (Path(__file__).parents[2] / "msg" / "Alignment.msg").read_text(encoding="utf-8")
    fields = re.findall(r"^[\w/]+ (\w+)(?: |$)", text, re.MULTILINE)
    states = dict(re.findall(r"^string STATE_(\w+)=(\w+)", text, re.MULTILINE))
    assert set(fields) == set(vars(alignment_to_message(None, HEADER)))
    assert set(states.values()) == {*ALIGNMENT_STATES, "none", "lost"}
    assert all(name.lower() == value for name, value in states.items())
    assert all(reason in text for reason in ALIGNMENT_FAILURES)


def test_alignment_message_fits_the_definition():
    message_type = alignment_type()
    if message_type is None:
        pytest.skip("ppd_ros/msg/Alignment is built by colcon only")
    assert alignment_to_message(None, HEADER).state == message_type.STATE_NONE
