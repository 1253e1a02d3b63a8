from __future__ import annotations

import struct

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ppd_ros.serialized import frame_id, restamped, stamp_ns, type_name


@pytest.mark.parametrize("name", ["", "a", "camera_color_optical_frame", "caméra"])
def test_header_is_read_out_of_the_bytes(name):
    header = Header(frame_id=name)
    header.stamp.sec, header.stamp.nanosec = 3, 999_999_999
    data = serialize_message(Image(header=header, encoding="mono8"))
    assert stamp_ns(data) == 3_999_999_999
    assert frame_id(data) == name


def test_only_the_stamp_of_a_restamped_message_changes():
    header = Header(frame_id="a frame of some length")
    header.stamp.sec, header.stamp.nanosec = 3, 999_999_999
    message = Image(header=header, height=1, width=2, encoding="mono8", step=2, data=[7, 9])
    moved = deserialize_message(restamped(serialize_message(message), 2), Image)
    assert (moved.header.stamp.sec, moved.header.stamp.nanosec) == (4, 1)
    moved.header.stamp = header.stamp
    assert moved == message
    big_endian = bytes([0, 0, 0, 0]) + struct.pack(">iI", 3, 0) + b"rest"
    assert restamped(big_endian, 10**9) == bytes(4) + struct.pack(">iI", 4, 0) + b"rest"


def test_message_without_a_stamp_stays_so():
    data = serialize_message(CameraInfo())
    assert restamped(data, 10**18) == data


def test_types_are_named_as_ros_names_them():
    assert type_name(PointCloud2) == "sensor_msgs/msg/PointCloud2"
    assert type_name(Image) == "sensor_msgs/msg/Image"
    assert type_name(DiagnosticArray) == "diagnostic_msgs/msg/DiagnosticArray"
