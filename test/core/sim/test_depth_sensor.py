from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from ppd_core.sim.depth_sensor import (
    DepthSensorConfig,
    incidence_cosine,
    occluded_pixels,
    quantize_disparity,
    sense_depth,
)
from ppd_core.types import Intrinsics

CAMERA = Intrinsics.from_fov(320, 240, 60)
SIZE = (CAMERA.height, CAMERA.width)
GREY = np.full((*SIZE, 3), 128, np.uint8)
IDEAL = DepthSensorConfig.ideal()


def flat(depth_m: float) -> np.ndarray:
    return np.full(SIZE, depth_m, np.float32)


def step(near_m: float, far_m: float, left: int = 150, right: int = 250) -> np.ndarray:
    """A near board before a far wall."""
    depth = flat(far_m)
    depth[:, left:right] = near_m
    return depth


def slanted(angle_deg: float, distance_m: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Depth of a plane whose normal is tilted from the optical axis, and the exact cosine."""
    angle = math.radians(angle_deg)
    normal = np.array([math.sin(angle) * 0.8, math.sin(angle) * 0.6, math.cos(angle)])
    x = (np.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx
    y = (np.arange(CAMERA.height) - CAMERA.cy) / CAMERA.fy
    rays = np.stack([*np.meshgrid(x, y), np.ones(SIZE)], -1)
    along = rays @ normal
    depth = np.where(along > 0.05, distance_m * normal[2] / along, np.inf).astype(np.float32)
    return depth, np.abs(along) / np.linalg.norm(rays, axis=-1)


def sense(
    depth: np.ndarray, image: np.ndarray = GREY, seed: int = 0, **strengths: float
) -> np.ndarray:
    """Measure with these faults alone."""
    rng = np.random.default_rng(seed)
    return sense_depth(depth, image, CAMERA, replace(IDEAL, **strengths), rng)


def test_sensor_without_faults_is_exact():
    depth = np.random.default_rng(0).uniform(0.01, 60, SIZE).astype(np.float32)
    depth[0], depth[1], depth[2] = np.inf, np.nan, 0
    before = depth.copy()
    sensed = sense(depth)
    np.testing.assert_array_equal(sensed[3:], depth[3:])
    assert np.isnan(sensed[:3]).all()
    assert sensed.dtype == np.float32
    np.testing.assert_array_equal(depth, before)


@pytest.mark.parametrize("depth_m", [0.5, 1, 2, 4])
def test_range_noise_grows_with_the_square_of_depth(depth_m):
    sensed = sense(flat(depth_m), range_noise_per_m=0.003)
    assert sensed.std() == pytest.approx(0.003 * depth_m**2, rel=0.02)
    assert sensed.mean() == pytest.approx(depth_m, rel=1e-3)


def test_disparity_comes_in_whole_steps():
    depth = np.linspace(0.3, 6, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    sensed = sense(depth, baseline_m=0.05, disparity_steps_per_px=8)
    steps = CAMERA.fx * 0.05 * 8 / sensed
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    error = np.abs(sensed - depth)
    # Half a step of disparity, to first order and a little more.
    bound = 0.5 * depth**2 / (CAMERA.fx * 0.05 * 8)
    assert (error <= 1.1 * bound + 1e-5).all()
    assert error.max() > 0.9 * bound.max()


def test_depth_beyond_the_last_step_of_disparity_is_a_hole():
    assert np.isinf(quantize_disparity(flat(100), 10, 1)).all()
    assert np.isnan(sense(flat(100), baseline_m=0.01, disparity_steps_per_px=1)).all()


@pytest.mark.parametrize(("near_m", "far_m", "baseline_m"), [(0.5, 3, 0.05), (1, 2, 0.1)])
def test_shadow_beside_a_near_object_is_as_wide_as_the_disparity_jumps(near_m, far_m, baseline_m):
    sensed = sense(step(near_m, far_m), baseline_m=baseline_m, shadow_scale=1)
    left_of_object = np.isnan(sensed[:, 100:150]).sum(axis=1)
    focal_baseline = CAMERA.fx * baseline_m
    assert abs(left_of_object - focal_baseline * (1 / near_m - 1 / far_m)).max() <= 1
    assert np.isfinite(sensed[:, 150:]).all()
    band = np.isnan(sensed[:, :100]).sum(axis=1)
    assert abs(band - focal_baseline / far_m).max() <= 1


def test_shadow_scale_shrinks_the_shadow():
    half = sense(step(0.5, 3), baseline_m=0.05, shadow_scale=0.5)
    same = sense(step(0.5, 3), baseline_m=0.025, shadow_scale=1)
    np.testing.assert_array_equal(np.isnan(half), np.isnan(same))
    assert np.isfinite(sense(step(0.5, 3), baseline_m=0.05)).all()


def test_thin_object_hides_no_more_than_its_own_width():
    pole = step(0.5, 3, 200, 204)
    hidden = occluded_pixels(pole, CAMERA.fx * 0.05)
    assert (abs(hidden[:, 100:].sum(axis=1) - 4) <= 1).all()


@pytest.mark.parametrize("angle_deg", [0, 30, 60])
def test_slanted_plane_hides_nothing_of_itself(angle_deg):
    depth, _ = slanted(angle_deg)
    focal_baseline = CAMERA.fx * 0.05
    inside = np.arange(CAMERA.width) - focal_baseline / depth > 1
    assert not occluded_pixels(depth, focal_baseline)[inside].any()


def test_incidence_cosine_is_exact_on_planes():
    for angle_deg in (0, 20, 45, 70):
        depth, cosine = slanted(angle_deg)
        is_there = np.isfinite(depth)
        # The border to where the plane ends has no slope on one side.
        is_there[1:-1, 1:-1] &= np.isfinite(depth)[2:, 1:-1] & np.isfinite(depth)[1:-1, 2:]
        found = incidence_cosine(depth, CAMERA)
        np.testing.assert_allclose(found[is_there], cosine[is_there], atol=2e-3)


def test_incidence_of_both_sides_of_a_depth_edge_is_that_of_the_flat_surface():
    assert incidence_cosine(step(1, 3), CAMERA).min() > 0.8
    assert (incidence_cosine(flat(math.inf), CAMERA) == 0).all()


def test_grazing_surfaces_have_holes_and_facing_ones_none():
    options = {"grazing_holes": 1.0, "grazing_above_deg": 60.0}
    assert np.isfinite(sense(flat(2), **options)).all()
    depth, cosine = slanted(75)
    holes = np.isnan(sense(depth, **options)) & np.isfinite(depth)
    assert not holes[cosine > 0.51].any()
    nearly_along = np.isfinite(depth) & (cosine < 0.1)
    assert nearly_along.sum() > 500
    assert holes[nearly_along].mean() > 0.8


@pytest.mark.parametrize(("fault", "grey"), [("dark_holes", 0), ("shiny_holes", 255)])
def test_dark_and_shiny_surfaces_have_holes(fault, grey):
    image = GREY.copy()
    image[:, :100] = grey
    holes = np.isnan(sense(flat(1), image, **{fault: 1.0}))
    assert holes[:, :100].all()
    assert not holes[:, 100:].any()
    assert not np.isnan(sense(flat(1), image)).any()
    some = np.isnan(sense(flat(1), image, **{fault: 0.5}))[:, :100].mean()
    assert 0.4 < some < 0.6


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.8])
def test_the_chance_of_a_hole_is_the_strength(chance):
    black = np.zeros((240, 320, 3), np.uint8)
    holes = np.isnan(sense(flat(1), black, dark_holes=chance))
    # 4,800 patches: one standard deviation is at most 0.008.
    assert holes.mean() == pytest.approx(chance, abs=0.03)


def test_holes_come_in_patches():
    black = np.zeros_like(GREY)
    holes = np.isnan(sense(flat(1), black, dark_holes=0.5))
    agreement = (holes[:, 1:] == holes[:, :-1]).mean()
    assert agreement > 0.8  # independent pixels would agree half of the time


def test_edge_smear_makes_pixels_fly_between_the_surfaces():
    depth = step(1, 3)
    sensed = sense(depth, edge_smear=0.6, smear_radius_px=2)
    moved = sensed != depth
    columns = np.flatnonzero(moved.any(axis=0))
    assert columns.tolist() == [148, 149, 150, 151, 248, 249, 250, 251]
    assert moved[:, columns].mean() == pytest.approx(0.6, abs=0.05)
    flying = sensed[moved]
    assert 1 < flying.min() < 1.1
    assert 2.9 < flying.max() < 3
    assert flying.mean() == pytest.approx(2, abs=0.1)


def test_nothing_flies_on_a_plane_or_before_the_empty_sky():
    for depth in (slanted(30)[0], step(1, math.inf)):
        sensed = sense(depth, edge_smear=1, smear_radius_px=1)
        np.testing.assert_array_equal(sensed[np.isfinite(depth)], depth[np.isfinite(depth)])


def test_nothing_is_seen_out_of_range():
    depth = np.linspace(0.1, 10, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    sensed = sense(depth, min_depth_m=0.3, max_depth_m=6.0)
    np.testing.assert_array_equal(np.isfinite(sensed), (depth >= 0.3) & (depth <= 6))


def test_dead_rows_are_lost_as_a_whole():
    holes = np.isnan(sense(flat(1), dead_rows=0.3))
    assert (holes.all(axis=1) == holes.any(axis=1)).all()
    assert holes[:, 0].mean() == pytest.approx(0.3, abs=0.1)


def test_dropout_loses_its_share_of_pixels():
    assert np.isnan(sense(flat(1), dropout=0.2)).mean() == pytest.approx(0.2, abs=0.01)


def test_same_generator_state_gives_the_same_measurement():
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    first, second, other = (
        sense_depth(step(1, 3), image, CAMERA, DepthSensorConfig(), np.random.default_rng(seed))
        for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other, equal_nan=True)


def test_default_sensor_is_good_on_a_facing_wall():
    sensed = sense_depth(flat(1), GREY, CAMERA, DepthSensorConfig(), np.random.default_rng(0))
    band = math.ceil(CAMERA.fx * 0.05)
    error = np.abs(sensed[:, band:] - 1)
    assert np.isnan(error).mean() < 0.02
    assert np.nanmedian(error) < 0.005


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dropout", 1.5, r"dropout must be in \[0, 1\], got 1.5"),
        ("dead_rows", math.nan, "dead_rows must be"),
        ("baseline_m", -1, "baseline_m must be finite and >= 0, got -1"),
        ("range_noise_per_m", math.inf, "range_noise_per_m must be finite"),
        ("max_depth_m", 0.1, "max_depth_m must be > min_depth_m, got 0.1 and 0.2"),
        ("max_depth_m", math.nan, "max_depth_m must be > min_depth_m"),
        ("dark_below", 0, "dark_below must be"),
        ("shiny_above", 1, "shiny_above must be"),
        ("grazing_above_deg", 90, "grazing_above_deg must be"),
    ],
)
def test_wrong_strength_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        DepthSensorConfig(**{name: value})


def test_wrong_arrays_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"depth must be \(240, 320\) float32, got .* float64"):
        sense_depth(np.ones(SIZE), GREY, CAMERA, IDEAL, rng)
    with pytest.raises(ValueError, match=r"image must be \(240, 320, 3\) uint8, got \(240, 320\)"):
        sense_depth(flat(1), GREY[..., 0], CAMERA, IDEAL, rng)


def test_every_fault_is_documented():
    for field in fields(DepthSensorConfig):
        assert f"{field.name}:" in DepthSensorConfig.__doc__
