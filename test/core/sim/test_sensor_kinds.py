import numpy as np
import pytest

from ppd_core.sim.sensor_kinds import KINDS, sense_with_any
from ppd_core.types import Intrinsics

H, W = 60, 80
CAMERA = Intrinsics.from_fov(W, H, 60)
IMAGE = np.full((H, W, 3), 128, np.uint8)


def walls() -> np.ndarray:
    """1 m on the left, 2 m on the right, sky above."""
    depth = np.where(np.arange(W) < W // 2, 1.0, 2.0).repeat(H).reshape(W, H).T.astype(np.float32)
    depth[:5] = np.inf
    return np.ascontiguousarray(depth)


def sensed(kind: str, seed: int = 0) -> np.ndarray:
    return sense_with_any(walls(), IMAGE, CAMERA, np.random.default_rng(seed), kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_measures_walls_and_no_sky(kind):
    depth = sensed(kind)
    assert depth.shape == (H, W) and depth.dtype == np.float32
    inside = depth[12:, 6 : W // 2 - 8], depth[12:, W // 2 + 8 : -6]
    for wall, metres in zip(inside, (1.0, 2.0), strict=True):
        assert np.nanmedian(wall) == pytest.approx(metres, rel=0.06)
    assert np.isnan(depth[:2]).all()  # a shift brings the wall two rows up at most
    assert np.array_equal(depth, sensed(kind), equal_nan=True)


def test_a_lidar_has_points_and_time_of_flight_mixes_across_an_edge():
    assert 0 < np.isfinite(sensed("lidar")).mean() < 0.5 < np.isfinite(sensed("default")).mean()
    row = sensed("time_of_flight")[30, W // 2 - 2 : W // 2 + 2]
    assert ((row > 1.1) & (row < 1.9)).any()


def test_half_the_size_is_each_sample_four_times():
    depth = sensed("half_size")
    assert np.array_equal(depth[::2, ::2], depth[1::2, 1::2], equal_nan=True)


def test_no_such_kind_is_named():
    with pytest.raises(ValueError, match="sonar"):
        sensed("sonar")
