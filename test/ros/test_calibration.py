from __future__ import annotations

import copy

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ppd_core.camera_info import (
    info_for_image,
    intrinsics_from_info,
    lens_of,
    rectified_info,
    shows_rectified,
    unfilled_k,
)
from ppd_core.geometry.camera import ray_table
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


UNFILLED = {
    "zeros": np.zeros(9),
    "the identity": np.eye(3).ravel(),
    "zeros and 1": np.diag([0.0, 0, 1]).ravel(),
}


@pytest.mark.parametrize("name", UNFILLED)
def test_where_nobody_filled_k_it_is_that_of_p(name):
    info = camera_info(k=UNFILLED[name], d=[0.0] * 5)
    intrinsics = intrinsics_from_info(info, 640, 480)
    assert intrinsics == Intrinsics(640, 480, 480.0, 490.0, 320.5, 240.5)
    published = info_for_image(info, HEADER, 640, 480)
    assert intrinsics_from_info(published, 640, 480) == intrinsics
    assert "P are used" in unfilled_k(info)
    assert unfilled_k(camera_info()) == unfilled_k(published) == ""


@pytest.mark.parametrize("name", UNFILLED)
def test_where_nobody_filled_p_it_is_published_as_that_of_k(name):
    p = np.hstack([UNFILLED[name].reshape(3, 3), np.zeros((3, 1))]).ravel()
    whole = info_for_image(camera_info(p=p), HEADER, 640, 480)
    assert whole.p.tolist() == [500.0, 0, 319.5, 0, 0, 510.0, 239.5, 0, 0, 0, 1, 0]
    half = info_for_image(camera_info(p=p), HEADER, 320, 240)
    assert half.p.reshape(3, 4)[:, :3].ravel().tolist() == half.k.tolist()
    assert half.k[0] == 250.0


@pytest.mark.parametrize("name", UNFILLED)
def test_uncalibrated_camera_is_refused(name):
    info = camera_info(k=UNFILLED[name], p=[0.0] * 12)
    with pytest.raises(ValueError, match="not calibrated: K and P of its camera_info are zero"):
        intrinsics_from_info(info, 640, 480)


@pytest.mark.parametrize("binning", [0, 1, 2])
def test_a_calibration_without_a_size_is_of_the_image_s(binning):
    sized = camera_info(binning_x=binning, binning_y=binning)
    bare = camera_info(binning_x=binning, binning_y=binning, width=0, height=0)
    image = (640, 480) if binning < 2 else (320, 240)
    assert intrinsics_from_info(bare, *image) == intrinsics_from_info(sized, *image)
    assert info_for_image(bare, HEADER, *image) == info_for_image(sized, HEADER, *image)


ZEROS = (0.0,) * 10
LENSES = [
    # As ROS has them.
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02), "plumb_bob", 4),
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.0), "plumb_bob", 5),
    ("rational_polynomial", (0.1, -0.2, 0.01, 0.02, 0.1, 0.2, 0.3, 0.4), "rational_polynomial", 8),
    ("equidistant", (0.1, -0.2, 0.01, 0.02), "equidistant", 4),
    # Of another count, that OpenCV takes.
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.3, *ZEROS[:3]), "rational_polynomial", 8),
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.3, *ZEROS[:7]), "rational_polynomial", 12),
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.3, *ZEROS[:9]), "rational_polynomial", 14),
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.3, 0.1, 0, 0), "rational_polynomial", 8),
    ("rational_polynomial", (0.1, -0.2, 0.01, 0.02), "plumb_bob", 4),
    ("rational_polynomial", (0.1, -0.2, 0.01, 0.02, 0.3), "plumb_bob", 5),
    # Of one that it does not take, but for zeros at the end.
    ("plumb_bob", (0.1, -0.2, 0.01, 0.02, 0.3, 0.0), "plumb_bob", 5),
    ("equidistant", (0.1, -0.2, 0.01, 0.02, 0.0), "equidistant", 4),
    ("equidistant", (0.0,) * 8, "equidistant", 4),
    # By other names.
    ("radtan", (0.1, -0.2, 0.01, 0.02), "plumb_bob", 4),
    ("Brown Conrady", (0.1, -0.2, 0.01, 0.02, 0.3), "plumb_bob", 5),
    ("", (0.1, -0.2, 0.01, 0.02, 0.3), "plumb_bob", 5),
    ("fisheye", (0.1, -0.2, 0.01, 0.02), "equidistant", 4),
    ("Kannala-Brandt4", (0.1, -0.2, 0.01, 0.02), "equidistant", 4),
]


@pytest.mark.parametrize(("name", "given", "model", "count"), LENSES)
def test_a_lens_by_any_usual_name_and_count_is_one_that_opencv_takes(name, given, model, count):
    assert lens_of(name, given) == (model, given[:count])


def test_zeros_behind_the_coefficients_change_no_ray():
    short = camera_info(d=[0.1, -0.2, 0.001, 0.002, 0.03])
    long = camera_info(d=[0.1, -0.2, 0.001, 0.002, 0.03, 0.0, 0.0, 0.0])
    rays = [ray_table(intrinsics_from_info(info, 64, 48)) for info in (short, long)]
    assert np.allclose(*rays, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("topic", "is_rectified"),
    [
        ("/camera/image_raw", False),
        ("/camera/image_rect", True),
        ("/camera/image_rect_color/compressed", True),
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/camera_rectified/image", True),
        ("/direct/rectangle/image", False),
        ("/camera/unrectified/image", False),
    ],
)
def test_an_image_is_rectified_where_its_topic_or_the_user_says_so(topic, is_rectified):
    assert shows_rectified("auto", topic) == is_rectified
    assert shows_rectified("rectified", topic)
    assert not shows_rectified("raw", topic)


def test_a_rectified_image_is_seen_by_p_alone():
    info = rectified_info(camera_info())
    expected = Intrinsics(640, 480, 480.0, 490.0, 320.5, 240.5)
    assert intrinsics_from_info(info, 640, 480) == expected
    assert intrinsics_from_info(info, 320, 240) == expected.resized(320, 240)
    bare = rectified_info(camera_info(p=np.eye(3, 4).ravel()))
    assert intrinsics_from_info(bare, 640, 480) == Intrinsics(640, 480, 500, 510, 319.5, 239.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [0.0, 0, 1, 0, 500, 1, 0, 0, 1]}, r"fx must be a finite focal length > 0 px"),
        ({"distortion_model": "fancy"}, r"distortion_model must be one of .*got 'fancy'"),
        ({"d": [0.1, 0.2]}, r"plumb_bob takes 4, 5, 8, 12 or 14 coefficients, got 2"),
        ({"d": [0.1] * 6}, r"plumb_bob takes 4, 5, 8, 12 or 14 coefficients, got 6"),
        ({"distortion_model": "fisheye", "d": [0.1] * 5}, r"fisheye takes 4 coefficients, got 5"),
        ({"distortion_model": "Inverse Brown Conrady"}, r"distortion_model must be one of"),
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
