from __future__ import annotations

import pytest
import torch

from ppd_core import Intrinsics
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.edges import depth_edges, dilate


def edges(*rows: list[float], **options) -> list[list[int]]:
    depth = torch.tensor(rows)
    return depth_edges(depth, torch.ones_like(depth, dtype=torch.bool), **options).int().tolist()


def test_a_step_marks_both_of_its_pixels():
    assert edges([1, 1, 1, 2, 2]) == [[0, 0, 1, 1, 0]]
    assert edges([1], [1], [2], [2]) == [[0], [1], [1], [0]]


def test_a_step_counts_from_the_ratio_on():
    assert edges([1, 1, 1.05, 1.05]) == [[0, 0, 0, 0]]
    assert edges([1, 1, 1.05, 1.05], ratio=1.04) == [[0, 1, 1, 0]]
    assert edges([10, 10, 9, 9]) == edges([1, 1, 0.9, 0.9]) == [[0, 1, 1, 0]]


def test_a_thing_one_pixel_wide_has_two_edges():
    assert edges([2, 2, 1, 2, 2]) == [[0, 1, 1, 1, 0]]


def test_a_floor_is_no_edge_however_grazing_it_is_seen():
    rays = ray_table(Intrinsics.from_fov(64, 48, 60))
    floor = torch.where(rays[..., 1] > 0, 0.7 / rays[..., 1], torch.inf)
    in_view = floor.isfinite()
    assert (floor[24:-1] / floor[25:]).max() > 1.5
    assert not depth_edges(floor, in_view).any()


def test_a_pole_on_that_floor_is_one():
    rays = ray_table(Intrinsics.from_fov(64, 48, 60))
    floor = torch.where(rays[..., 1] > 0, 0.7 / rays[..., 1], torch.inf)
    floor[26:40, 30:33] = 1.0
    marked = depth_edges(floor, floor.isfinite())
    assert marked[27:38, [29, 30, 32, 33]].all()
    assert not marked[:, :28].any()


def test_invalid_pixels_have_no_edge_and_hide_none():
    depth = torch.tensor([[1.0, torch.nan, 2.0, 2.0, torch.inf, 2.0, 1.0, 9.0]])
    valid = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 0]]).bool()
    assert depth_edges(depth, valid).int().tolist() == [[0, 0, 0, 0, 0, 1, 1, 0]]


def test_dilate_is_a_square_of_the_radius_in_each_image_of_a_batch():
    mask = torch.zeros(2, 7, 7, dtype=torch.bool)
    mask[1, 3, 3] = True
    grown = dilate(mask, 2)
    assert not grown[0].any()
    assert grown[1].sum() == 25
    assert grown[1, 1:6, 1:6].all()
    assert torch.equal(dilate(mask, 0), mask)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3, 2\)"):
        depth_edges(torch.ones(2, 3), torch.ones(3, 2).bool())
    with pytest.raises(ValueError, match=r"ratio must be > 1, got 1\.0"):
        depth_edges(torch.ones(2, 3), torch.ones(2, 3).bool(), ratio=1.0)
