from __future__ import annotations

import importlib.util

import pytest
from sensor_msgs.msg import CameraInfo, Image

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.image_reading import image_to_rgb
from ppd_ros import photo_publisher
from ppd_ros.photo_publisher import PHOTOS, PhotoPublisher, photo_paths

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photos come with scikit-image"
)


def test_photos_are_files_of_the_wheel():
    paths = photo_paths()
    assert {"astronaut", "coffee", "chelsea"} <= set(paths) <= set(PHOTOS)
    assert all(path.is_file() for path in paths.values())


def test_missing_wheel_is_one_sentence(monkeypatch):
    monkeypatch.setattr(photo_publisher.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="scikit-image, which is not installed: pip install"):
        photo_paths()


def test_wheel_without_photos_is_one_sentence(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(photo_publisher.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(ValueError, match=r"none of the photos astronaut, .* is in"):
        photo_paths()


def test_photos_come_in_turn_each_with_its_calibration(world):
    images = world.subscribe(Image, "camera/image", 10)
    infos = world.subscribe(CameraInfo, "camera/camera_info", 10)
    names = ("coffee", "chelsea")
    world.add(lambda context: PhotoPublisher(names, rate_hz=50.0, hold_s=0.04, context=context))
    world.spin_until(lambda: min(len(images), len(infos)) >= 8, "eight images and infos")
    frames = [image.header.frame_id for image in images]
    assert set(frames) == {"coffee_optical_frame", "chelsea_optical_frame"}
    # Two frames of each before the next: never one that stands alone.
    inner = frames[1:-1]
    assert all(inner[i] in (frames[i], frames[i + 2]) for i in range(len(inner)))
    by_stamp = {(i.header.stamp.sec, i.header.stamp.nanosec): i for i in infos}
    image = next(i for i in images if (i.header.stamp.sec, i.header.stamp.nanosec) in by_stamp)
    info = by_stamp[image.header.stamp.sec, image.header.stamp.nanosec]
    assert info.header == image.header
    height, width = image_to_rgb(image).shape[:2]
    intrinsics = intrinsics_from_info(info, width, height)
    assert (intrinsics.cx, intrinsics.cy) == ((width - 1) / 2, (height - 1) / 2)
