"""Images without distortion, against OpenCV's own maps and the lens model's rays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ppd_core.geometry.rectify import rectification, registration
from ppd_core.types import Intrinsics

WIDTH, HEIGHT = 64, 48
IDEAL = Intrinsics(WIDTH, HEIGHT, 50.0, 52.0, 31.5, 23.5)
MATRIX = np.array([[50.0, 0, 31.5], [0, 52.0, 23.5], [0, 0, 1]])
LENSES = {
    "plumb_bob": (-0.3, 0.1, 0.001, 0.002, 0.0),
    "rational_polynomial": (0.1, -0.05, 0.001, 0.0, 0.01, 0.2, -0.1, 0.01),
    "equidistant": (0.05, -0.01, 0.002, 0.0),
}


def distorted(model):
    return Intrinsics(WIDTH, HEIGHT, 50.0, 52.0, 31.5, 23.5, model, LENSES[model])


@pytest.mark.parametrize("model", LENSES)
def test_maps_are_opencvs(model):
    made = rectification(distorted(model), IDEAL)
    init = cv2.initUndistortRectifyMap
    if model == "equidistant":
        init = cv2.fisheye.initUndistortRectifyMap
    coefficients = np.array(LENSES[model])
    maps = init(MATRIX, coefficients, np.eye(3), MATRIX, (WIDTH, HEIGHT), cv2.CV_32FC1)
    assert made.columns == pytest.approx(maps[0], abs=1e-3)
    assert made.rows == pytest.approx(maps[1], abs=1e-3)


def test_an_ideal_camera_is_left_as_it_is():
    made = rectification(IDEAL, IDEAL)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    # cv2.remap counts in 32nds of a pixel.
    assert np.abs(made.image(image).astype(int) - image).max() <= 4
    assert made.is_seen.all()


def test_what_the_lens_does_not_show_is_black_and_has_no_depth():
    # A pincushion: the corners of the ideal image lie beyond the raw one.
    raw = Intrinsics(WIDTH, HEIGHT, 50.0, 52.0, 31.5, 23.5, "plumb_bob", (0.5, 0.0, 0.0, 0.0))
    made = rectification(raw, IDEAL)
    seen = made.is_seen
    assert not seen[0, 0]
    assert seen[HEIGHT // 2, WIDTH // 2]
    depth = made.depth(np.full((HEIGHT, WIDTH), 2.0, np.float32))
    assert np.array_equal(np.isnan(depth), ~seen)
    image = made.image(np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    assert image[0, 0].max() == 0
    assert image[HEIGHT // 2, WIDTH // 2].min() == 200


@pytest.mark.parametrize("scale", [1, 0.5, 2])
def test_depth_of_any_size_keeps_its_values(scale):
    """No sample between two surfaces, and the border where the lens has it."""
    height, width = int(HEIGHT * scale), int(WIDTH * scale)
    depth = np.full((height, width), 1.0, np.float32)
    depth[:, width // 2 :] = 5.0
    made = rectification(distorted("plumb_bob"), IDEAL)
    result = made.depth(depth)
    assert set(np.unique(result)) == {1.0, 5.0}
    assert np.array_equal(result == 5.0, made.columns >= WIDTH / 2 - 0.5)


@pytest.mark.parametrize(
    ("rectified", "words"),
    [
        (Intrinsics(32, 24, 50.0, 50.0, 15.5, 11.5), "of 64 x 48"),
        (distorted("plumb_bob"), "an ideal one"),
    ],
)
def test_what_cannot_be_is_refused(rectified, words):
    with pytest.raises(ValueError, match=words):
        rectification(distorted("plumb_bob"), rectified)


def test_image_of_another_size_is_refused():
    made = rectification(distorted("plumb_bob"), IDEAL)
    with pytest.raises(ValueError, match="to be rectified, got"):
        made.image(np.zeros((5, 5, 3), np.uint8))


@pytest.mark.parametrize("scale", [1, 0.5, 2])
@pytest.mark.parametrize("model", ["", *LENSES])
def test_a_crop_of_the_image_lies_where_it_was_cut_out(model, scale):
    image = Intrinsics(WIDTH, HEIGHT, 50.0, 52.0, 31.5, 23.5, model, LENSES.get(model, ()))
    cut = Intrinsics(40, 40, 50.0, 52.0, 31.5 - 10, 23.5 - 4, model, LENSES.get(model, ()))
    depth_camera = cut.resized(round(40 * scale), round(40 * scale))
    columns = np.arange(depth_camera.width, dtype=np.float32)
    depth = np.tile((columns + 0.5) / scale - 0.5 + 10, (depth_camera.height, 1))
    placed = registration(depth_camera, image).depth(depth)
    is_inside = np.zeros((HEIGHT, WIDTH), bool)
    is_inside[4:44, 10:50] = True
    assert (np.isfinite(placed) == is_inside).mean() > 0.95
    both = np.isfinite(placed) & is_inside
    u = np.mgrid[:HEIGHT, :WIDTH][1]
    assert placed[both] == pytest.approx(u[both], abs=0.51 / min(scale, 1))


def test_depth_through_another_lens_comes_to_the_pixels_of_its_rays():
    lens = distorted("plumb_bob")
    assert registration(lens, IDEAL).columns == pytest.approx(
        rectification(lens, IDEAL).columns, abs=1e-4
    )


def test_what_shows_the_same_in_another_size_needs_no_registration():
    for model in ("", "plumb_bob"):
        camera = Intrinsics(WIDTH, HEIGHT, 50.0, 52.0, 31.5, 23.5, model, LENSES.get(model, ()))
        assert registration(camera.resized(32, 24), camera) is None
