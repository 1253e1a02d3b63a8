from __future__ import annotations

import copy

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ppd_core.camera_info import info_for_image, intrinsics_from_info
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info

HEADER = Header(frame_id="other_frame")


def camera_info(**changes):
    """A 640 x 480 camera with fx 500, fy 510, centre (319.5, 239.5), baseline term -50 in P."""
    info = CameraInfo(header=Header(frame_id="camera"), width=640, height=480)
    info.distortion_model = "plumb_bob"
    info.d = [0.1, -0.2, 0.001, 0.002, 0.0]
    info.k = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [480.0, 0.0, 320.5, -50.0, 0.0, 490.0, 240.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def test_intrinsics_are_k_and_d_of_the_raw_image():
    assert intrinsics_from_info(camera_info(), 640, 480) == Intrinsics(
        640, 480, 500.0, 510.0, 319.5, 239.5, "plumb_bob", (0.1, -0.2, 0.001, 0.002, 0.0)
    )


@pytest.mark.parametrize("d", [[], [0.0] * 5])
def test_intrinsics_without_distortion_need_no_known_model(d):
    info = camera_info(d=d, distortion_model="my_own_model")
    intrinsics = intrinsics_from_info(info, 640, 480)
    assert not intrinsics.is_distorted
    assert intrinsics.distortion_model == ""


def test_intrinsics_of_a_resampled_image_are_scaled():
    whole = intrinsics_from_info(camera_info(), 640, 480)
    assert intrinsics_from_info(camera_info(), 320, 240) == whole.resized(320, 240)
    assert intrinsics_from_info(camera_info(), 320, 240).cx == 159.5


def test_binning_is_a_resampling():
    info = camera_info(binning_x=2, binning_y=2)
    expected = intrinsics_from_info(camera_info(), 320, 240)
    assert intrinsics_from_info(info, 320, 240) == expected


def test_roi_moves_the_principal_point():
    info = camera_info()
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 200, 100
    intrinsics = intrinsics_from_info(info, 200, 100)
    assert (intrinsics.cx, intrinsics.cy) == (219.5, 199.5)
    assert (intrinsics.fx, intrinsics.fy) == (500.0, 510.0)


def test_a_world_point_is_seen_at_the_same_place_through_roi_and_binning():
    point = np.array([0.3, -0.2, 2.0])
    full = intrinsics_from_info(camera_info(), 640, 480)
    info = camera_info(binning_x=2, binning_y=2)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 64, 32, 512, 416
    part = intrinsics_from_info(info, 256, 208)

    def project(camera):
        x, y, z = point
        return np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])

    # Image edges are at -0.5: ((full + 0.5) - offset) / 2 - 0.5.
    expected = (project(full) + 0.5 - [64, 32]) / 2 - 0.5
    assert project(part) == pytest.approx(expected)


def test_uncalibrated_camera_is_refused():
    with pytest.raises(ValueError, match="not calibrated: K of its camera_info is all zero"):
        intrinsics_from_info(camera_info(k=[0.0] * 9), 640, 480)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [0.0, 0, 1, 0, 500, 1, 0, 0, 1]}, r"fx must be a finite focal length > 0 px"),
        ({"distortion_model": "fancy"}, r"distortion_model must be one of .*got 'fancy'"),
        ({"d": [0.1, 0.2]}, r"plumb_bob takes 4 or 5 coefficients, got 2"),
    ],
)
def test_unusable_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        intrinsics_from_info(camera_info(**changes), 640, 480)


@pytest.mark.parametrize("function", [intrinsics_from_info, info_for_image])
def test_an_image_of_other_proportions_is_refused(function):
    arguments = (640, 360) if function is intrinsics_from_info else (HEADER, 640, 360)
    with pytest.raises(ValueError, match=r"got an image of 640 x 360 and a camera of 640 x 480"):
        function(camera_info(), *arguments)


def test_size_that_was_rounded_is_not_refused():
    assert intrinsics_from_info(camera_info(), 321, 240).width == 321


def test_info_for_image_copies_all_but_the_header():
    info = camera_info()
    result = info_for_image(info, HEADER, 640, 480)
    assert result.header.frame_id == "other_frame"
    result.header = info.header
    assert result == info


@pytest.mark.parametrize("size", [(640, 480), (320, 240)])
def test_info_for_image_leaves_the_cached_message_as_it_was(size):
    info = camera_info()
    before = copy.deepcopy(info)
    info_for_image(info, HEADER, *size)
    assert info == before


@pytest.mark.parametrize(
    ("captured", "binning", "image"),
    [
        ((640, 480), (2, 2), (320, 240)),
        ((640, 480), (2, 1), (320, 480)),
        ((641, 481), (2, 2), (320, 240)),
    ],
)
def test_published_info_is_the_camera_of_the_points_under_binning(captured, binning, image):
    info = camera_info(width=captured[0], height=captured[1])
    info.binning_x, info.binning_y = binning
    published = info_for_image(info, HEADER, *image)
    assert (published.width, published.height, published.binning_x) == (*image, 0)
    intrinsics = intrinsics_from_info(info, *image)
    assert (intrinsics.fx, intrinsics.fy) == (500.0 / binning[0], 510.0 / binning[1])
    assert intrinsics_from_info(published, *image) == intrinsics
    assert published.k[[0, 2, 4, 5]].tolist() == [
        intrinsics.fx,
        intrinsics.cx,
        intrinsics.fy,
        intrinsics.cy,
    ]


def test_a_camera_info_without_a_size_is_refused():
    with pytest.raises(ValueError, match="camera_info has no size, got 0 x 0"):
        intrinsics_from_info(camera_info(width=0, height=0), 640, 480)


def test_a_fisheye_with_zero_coefficients_stays_a_fisheye():
    info = camera_info(distortion_model="equidistant", d=[0.0] * 4)
    assert intrinsics_from_info(info, 640, 480).distortion_model == "equidistant"


def test_info_for_image_scales_k_and_p():
    result = info_for_image(camera_info(), HEADER, 1280, 960)
    assert (result.width, result.height) == (1280, 960)
    assert result.k.tolist() == [1000.0, 0, 639.5, 0, 1020.0, 479.5, 0, 0, 1]
    assert result.p.tolist() == [960.0, 0, 641.5, -100.0, 0, 980.0, 481.5, 0, 0, 0, 1, 0]
    assert result.d == camera_info().d


def test_scaled_info_means_the_same_camera():
    info = camera_info()
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 64, 32, 512, 416
    scaled = info_for_image(info, HEADER, 128, 104)
    assert scaled.roi.width == 0
    assert intrinsics_from_info(scaled, 128, 104) == intrinsics_from_info(info, 128, 104)


def test_intrinsics_round_trip():
    intrinsics = Intrinsics(640, 480, 500.0, 510.0, 319.0, 239.0, "equidistant", (0.1, 0, 0, 0.2))
    info = intrinsics_to_info(intrinsics, HEADER)
    assert intrinsics_from_info(info, 640, 480) == intrinsics
    plain = Intrinsics.from_focal(640, 480, 500.0)
    assert intrinsics_from_info(intrinsics_to_info(plain, HEADER), 640, 480) == plain
