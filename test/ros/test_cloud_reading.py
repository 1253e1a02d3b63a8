from __future__ import annotations

import array

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.view.messages import cloud_of_message
from ppd_ros.conversions import points_to_cloud

XYZ = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)


def cloud_of(xyz, *, kind="f4", order="<", offsets=(0, 4, 8), point_step=12, padding=0):
    """A cloud of (H, W, 3) points in any layout."""
    height, width = xyz.shape[:2]
    row_step = width * point_step + padding
    data = np.full((height, row_step), 0xAB, np.uint8)
    for row in range(height):
        for col in range(width):
            for axis, offset in enumerate(offsets):
                value = np.array(xyz[row, col, axis], order + kind).tobytes()
                at = col * point_step + offset
                data[row, at : at + len(value)] = np.frombuffer(value, np.uint8)
    datatype = {"f4": PointField.FLOAT32, "f8": PointField.FLOAT64, "i4": PointField.INT32}[kind]
    names = ["x", "y", "z"]
    fields = [
        PointField(name=name, offset=offset, datatype=datatype, count=1)
        for name, offset in zip(names, offsets, strict=True)
    ]
    return PointCloud2(
        height=height,
        width=width,
        fields=[*reversed(fields), PointField(name="ring", offset=0, datatype=2, count=1)],
        is_bigendian=order == ">",
        point_step=point_step,
        row_step=row_step,
        data=array.array("B", data.tobytes()),
    )


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"order": ">"},
        {"kind": "f8", "offsets": (0, 8, 16), "point_step": 24},
        {"kind": "f8", "order": ">", "offsets": (0, 8, 16), "point_step": 24},
        {"offsets": (18, 6, 11), "point_step": 23},
        {"point_step": 32, "padding": 5},
    ],
)
def test_any_layout_is_read(layout):
    assert np.array_equal(xyz_of_cloud(cloud_of(XYZ, **layout)), XYZ.reshape(-1, 3))


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("row_step", [0, 12 * 12], ids=["none", "of the whole message"])
def test_rows_whose_step_is_no_row_s_follow_each_other(height, row_step):
    points = XYZ.reshape(height, -1, 3)
    cloud = cloud_of(points)
    cloud.row_step = row_step
    assert np.array_equal(xyz_of_cloud(cloud), XYZ.reshape(-1, 3))
    assert np.array_equal(cloud_of_message(cloud)[0], points)
    colored = points_to_cloud(
        points, np.arange(36, dtype=np.uint8).reshape(height, -1, 3), Header()
    )
    colored.row_step = row_step // 12 * 16
    assert cloud_of_message(colored)[1].ravel().tolist() == list(range(36))


def test_a_step_over_padding_as_long_as_the_points_is_stepped():
    cloud = cloud_of(XYZ, padding=2 * 4 * 12)
    assert cloud.row_step == 3 * 4 * 12
    assert np.array_equal(xyz_of_cloud(cloud), XYZ.reshape(-1, 3))


def test_our_own_cloud_is_read_with_its_nan():
    points = XYZ.copy()
    points[1, 2] = np.nan
    cloud = points_to_cloud(points, np.zeros((3, 4, 3), np.uint8), Header())
    assert np.array_equal(xyz_of_cloud(cloud), points.reshape(-1, 3), equal_nan=True)


def test_an_empty_cloud_has_no_points():
    assert xyz_of_cloud(cloud_of(np.empty((1, 0, 3)))).shape == (0, 3)


def without(name):
    cloud = cloud_of(XYZ)
    cloud.fields = [field for field in cloud.fields if field.name != name]
    return cloud


def changed(**values):
    cloud = cloud_of(XYZ)
    for name, value in values.items():
        setattr(cloud, name, value)
    return cloud


@pytest.mark.parametrize(
    ("cloud", "message"),
    [
        (without("z"), "float fields x, y and z, got no such field for 'z'"),
        (cloud_of(XYZ, kind="i4"), "float fields x, y and z, got datatype 5 for 'x'"),
        (changed(point_step=10), r"'z' at byte 8 must lie within point_step, got 10"),
        (changed(row_step=47), r"row_step must be >= 48 bytes \(4 points of 12\), got 47"),
        (changed(height=4), r"data must be >= 192 bytes \(4 rows of step 48\), got 144"),
    ],
)
def test_what_is_no_cloud_is_refused_with_the_reason(cloud, message):
    with pytest.raises(ValueError, match=message):
        xyz_of_cloud(cloud)
