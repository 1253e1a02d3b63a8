from __future__ import annotations

import pytest
import torch

from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.point_map import recover_z_shift
from ppd_core.types import Intrinsics

CAMERA = Intrinsics.from_fov(160, 120, 50)


@pytest.fixture
def points() -> torch.Tensor:
    depth = 1 + torch.rand(120, 160, generator=torch.Generator().manual_seed(0))
    return backproject(depth, ray_table(CAMERA))


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.8])
@pytest.mark.parametrize("camera", [CAMERA, None])
def test_the_shift_is_found_with_and_without_a_camera(points, shift, camera):
    mask = torch.ones(120, 160, dtype=torch.bool)
    moved = points - torch.tensor([0, 0, shift])
    assert recover_z_shift(moved, mask, camera).item() == pytest.approx(shift, abs=1e-3)


def test_noise_and_what_the_mask_leaves_out_do_not_matter(points):
    mask = torch.ones(120, 160, dtype=torch.bool)
    mask[:60] = False
    moved = points - torch.tensor([0, 0, 0.3])
    moved[:60] = torch.nan
    generator = torch.Generator().manual_seed(1)
    moved = moved + 0.002 * torch.randn(moved.shape, generator=generator)
    assert recover_z_shift(moved, mask, CAMERA).item() == pytest.approx(0.3, abs=0.02)


def test_nothing_to_go_by_is_no_shift(points):
    nothing = torch.zeros(120, 160, dtype=torch.bool)
    assert recover_z_shift(points, nothing, CAMERA).item() == 0
    assert recover_z_shift(points, nothing, None).item() == 0
