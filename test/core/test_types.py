from __future__ import annotations

import math
import re

import pytest

from ppd_core.types import Alignment, Intrinsics


def camera(**changes) -> Intrinsics:
    values = {"width": 640, "height": 480, "fx": 500.0, "fy": 501.0, "cx": 320.0, "cy": 239.0}
    return Intrinsics(**{**values, **changes})


REFUSED = [
    ({"width": 0}, "image size must be >= 1 x 1, got 0 x 480"),
    ({"width": 640.0}, "image size must be whole numbers, got 640.0 x 480"),
    ({"fx": 0.0}, "fx must be a finite focal length > 0 px, got 0.0"),
    ({"fy": -1.0}, "fy must be a finite focal length > 0 px, got -1.0"),
    ({"fx": math.nan}, "fx must be a finite focal length > 0 px, got nan"),
    ({"cx": math.inf}, "cx must be finite, got inf"),
    ({"distortion": (0.1,)}, "distortion coefficients need a distortion_model, got none"),
    ({"distortion_model": "ftheta"}, "distortion_model must be one of plumb_bob, rational_poly"),
    (
        {"distortion_model": "plumb_bob", "distortion": (0.1, 0.2)},
        "plumb_bob takes 4 or 5 coefficients, got 2",
    ),
    (
        {"distortion_model": "equidistant", "distortion": (0.1, math.nan, 0.0, 0.0)},
        "distortion coefficients must be finite",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_intrinsics_refuse_a_camera_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        camera(**changes)


def test_distortion_may_be_any_sequence():
    import numpy as np

    coefficients = [0.1, 0.0, 0.0, 0.0]
    for given in (coefficients, np.array(coefficients)):
        found = camera(distortion_model="plumb_bob", distortion=given)
        assert found == camera(distortion_model="plumb_bob", distortion=tuple(coefficients))
        assert hash(found)


def test_from_fov_sees_the_angle_from_edge_to_edge():
    wide = Intrinsics.from_fov(200, 100, 90)
    assert wide.fx == pytest.approx(100)
    left_edge, right_edge = (-0.5 - wide.cx) / wide.fx, (199.5 - wide.cx) / wide.fx
    assert math.degrees(math.atan(right_edge) - math.atan(left_edge)) == pytest.approx(90)


@pytest.mark.parametrize("fov", [0, 180, -5])
def test_from_fov_refuses_an_impossible_angle(fov):
    with pytest.raises(ValueError, match=rf"horizontal_fov_deg must be in \(0, 180\).*got {fov}"):
        Intrinsics.from_fov(200, 100, fov)


def test_resized_keeps_the_rays_of_the_image_corners():
    small, large = camera(), camera().resized(1920, 1440)
    for edge_small, edge_large in ((-0.5, -0.5), (639.5, 1919.5)):
        ray_small = (edge_small - small.cx) / small.fx
        assert (edge_large - large.cx) / large.fx == pytest.approx(ray_small)


def test_resized_there_and_back_is_the_same_camera():
    back = camera().resized(123, 77).resized(640, 480)
    assert (back.fx, back.cx, back.cy) == pytest.approx((500, 320, 239))


def test_an_equidistant_lens_is_no_pinhole_even_with_zero_coefficients():
    assert camera(distortion_model="equidistant", distortion=(0.0,) * 4).is_distorted
    assert not camera(distortion_model="equidistant").is_distorted


def test_zero_coefficients_of_a_pinhole_model_are_no_distortion():
    assert not camera(distortion_model="plumb_bob", distortion=(0.0,) * 5).is_distorted
    assert camera(distortion_model="plumb_bob", distortion=(0.1, 0, 0, 0, 0)).is_distorted


@pytest.mark.parametrize(
    ("scale", "shift", "message"),
    [
        (0.0, 0.0, "alignment scale must be finite and > 0, got 0.0"),
        (math.nan, 0.0, "alignment scale must be finite and > 0, got nan"),
        (1.0, math.inf, "alignment shift must be finite, got inf"),
    ],
)
def test_alignment_refuses_an_unusable_line(scale, shift, message):
    with pytest.raises(ValueError, match=message):
        Alignment(scale, shift, "constant")
