from __future__ import annotations

import numpy as np
import pytest

from ppd_core.geometry.rigid import rigid_transform

HALF = 0.5**0.5


@pytest.mark.parametrize(
    ("quaternion", "x_becomes"),
    [
        ((0.0, 0.0, 0.0, 1.0), (1, 0, 0)),
        ((0.0, 0.0, HALF, HALF), (0, 1, 0)),
        ((0.0, HALF, 0.0, HALF), (0, 0, -1)),
        ((HALF, 0.0, 0.0, HALF), (1, 0, 0)),
        ((0.5, 0.5, 0.5, 0.5), (0, 1, 0)),
        ((0.5, -0.5, 0.5, 0.5), (0, 0, 1)),
        ((-0.5, -0.5, -0.5, -0.5), (0, 1, 0)),
    ],
)
def test_rigid_transform_of_known_rotations(quaternion, x_becomes):
    matrix = rigid_transform((10.0, 20.0, 30.0), quaternion)
    moved = np.add(x_becomes, (10.0, 20.0, 30.0))
    assert matrix @ [1, 0, 0, 1] == pytest.approx([*moved, 1])


def test_rigid_transform_is_a_rotation():
    quaternion = np.random.default_rng(0).normal(size=4)
    matrix = rigid_transform((0.0, 0.0, 0.0), quaternion / np.linalg.norm(quaternion))
    assert matrix[:3, :3] @ matrix[:3, :3].T == pytest.approx(np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "quaternion", [(0, 0, 0, 0), (0, 0, 0, 2), (0, 0, 0, 1.01), (np.nan, 0, 0, 1)]
)
def test_rigid_transform_refuses_what_is_no_rotation(quaternion):
    with pytest.raises(ValueError, match=r"quaternion must have length 1, got"):
        rigid_transform((0, 0, 0), quaternion)


def test_rigid_transform_refuses_a_translation_that_is_not_finite():
    with pytest.raises(ValueError, match=r"translation must be finite, got \(0, inf, 0\)"):
        rigid_transform((0, np.inf, 0), (0, 0, 0, 1))
