"""Transforms of a stand-in for tf2_ros; `test_real_tf2` has the real one, where there is one."""

from __future__ import annotations

import sys
import threading
import types

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from ppd_core.types import AlignmentError
from ppd_ros.transforms import Transforms

DEADLINE_S = 10.0
FOREVER_S = 3600.0
"""Of a wait that must end by something else: longer than the test may take."""
HALF = 0.5**0.5
CAMERA = Header(frame_id="camera_optical", stamp=Time(sec=10, nanosec=20))
LIDAR = Header(frame_id="lidar", stamp=Time(sec=9, nanosec=90))


class FakeTf2:
    """A stand-in for the module tf2_ros; `answer` is called instead of a look-up."""

    def __init__(self):
        self.asked = []
        self.answer = None
        self.is_listening = False
        fake = self

        class Buffer:
            def __init__(self, cache_time=None):
                pass

            def lookup_transform(self, *asked):
                fake.asked.append(asked)
                return fake.answer()

            lookup_transform_full = lookup_transform

        class TransformListener:
            def __init__(self, buffer, node):
                fake.is_listening = True

            def unregister(self):
                fake.is_listening = False

        self.module = types.ModuleType("tf2_ros")
        self.module.TransformException = type("TransformException", (Exception,), {})
        for name in ("LookupException", "ExtrapolationException", "ConnectivityException"):
            setattr(self.module, name, type(name, (self.module.TransformException,), {}))
        self.module.Buffer, self.module.TransformListener = Buffer, TransformListener


@pytest.fixture
def tf2(monkeypatch):
    fake = FakeTf2()
    monkeypatch.setitem(sys.modules, "tf2_ros", fake.module)
    return fake


def moved(x_m, *, w=1.0):
    result = TransformStamped()
    result.transform.translation.x = x_m
    result.transform.rotation.w = w
    return result


def nanoseconds(asked):
    return [getattr(value, "nanoseconds", value) for value in asked]


def test_lookup_is_at_the_stamp_of_the_image(tf2):
    tf2.answer = lambda: moved(3.0)
    matrix = Transforms(None).lookup(CAMERA, LIDAR, timeout_s=0.0)
    assert matrix[:3, 3] == pytest.approx([3.0, 0.0, 0.0])
    assert nanoseconds(tf2.asked[0]) == ["camera_optical", "lidar", 10_000_000_020]


def test_with_a_fixed_frame_the_cloud_keeps_its_own_time(tf2):
    tf2.answer = lambda: moved(3.0)
    Transforms(None).lookup(CAMERA, LIDAR, fixed_frame="odom", timeout_s=0.0)
    assert nanoseconds(tf2.asked[0]) == [
        *("camera_optical", 10_000_000_020, "lidar", 9_000_000_090, "odom")
    ]


def test_a_cloud_in_the_cameras_own_frame_needs_no_tf2(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    same = Header(frame_id=CAMERA.frame_id, stamp=LIDAR.stamp)
    assert np.array_equal(Transforms(None).lookup(CAMERA, same, timeout_s=0.0), np.eye(4))


def test_headers_without_a_frame_say_nothing_of_where_the_sensor_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    for image, cloud in ((Header(), Header()), (CAMERA, Header()), (Header(), LIDAR)):
        with pytest.raises(AlignmentError, match="want the frames of cloud and image") as caught:
            Transforms(None).lookup(image, cloud, timeout_s=0.0)
        assert caught.value.reason == "no_transform"


def test_without_tf2_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with pytest.raises(AlignmentError, match=r"apt install ros-\$ROS_DISTRO-tf2-ros-py") as caught:
        Transforms(None).lookup(CAMERA, LIDAR, timeout_s=0.0)
    assert caught.value.reason == "no_tf2"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LookupException", '"lidar" passed to lookupTransform argument source_frame does not'),
        ("LookupException", "The tf tree is invalid because it contains a loop."),
        ("ExtrapolationException", "Lookup would require extrapolation into the future"),
        ("ConnectivityException", "the two frames are not part of the same tree"),
    ],
)
def test_what_tf2_says_is_passed_on(tf2, name, words):
    def answer():
        raise getattr(tf2.module, name)(words)

    tf2.answer = answer
    with pytest.raises(AlignmentError) as caught:
        Transforms(None).lookup(CAMERA, LIDAR, timeout_s=0.0)
    assert caught.value.reason == "no_transform"
    assert f"'lidar' to 'camera_optical' within tf_timeout_s 0: {name}: {words}" in str(
        caught.value
    )


def test_lookup_waits_for_a_transform_on_its_way(tf2):
    def answer():
        if len(tf2.asked) < 4:
            raise tf2.module.ExtrapolationException("not yet")
        return moved(1.0)

    tf2.answer = answer
    assert Transforms(None).lookup(CAMERA, LIDAR, timeout_s=DEADLINE_S)[0, 3] == 1.0


def test_close_ends_the_wait_and_the_listening(tf2):
    def answer():
        raise tf2.module.ExtrapolationException("never")

    tf2.answer = answer
    transforms = Transforms(None)
    assert tf2.is_listening
    closer = threading.Timer(0.05, transforms.close)
    closer.start()
    with pytest.raises(AlignmentError):
        transforms.lookup(CAMERA, LIDAR, timeout_s=FOREVER_S)
    closer.join()
    assert not tf2.is_listening


def test_a_transform_that_is_no_rotation_is_none(tf2):
    tf2.answer = lambda: moved(1.0, w=0.0)
    with pytest.raises(AlignmentError, match="quaternion must have length 1, got 0") as caught:
        Transforms(None).lookup(CAMERA, LIDAR, timeout_s=0.0)
    assert caught.value.reason == "no_transform"
