from __future__ import annotations

import math

import pytest
import torch

from ppd_core.alignment.anchors import (
    check_unit,
    depth_anchors,
    geometry_anchors,
    point_anchors,
)
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.models.moge2 import MoGe2Geometry
from ppd_core.types import AlignmentError, Intrinsics

CONFIG = AlignmentConfig(min_depth_m=0.2, max_depth_m=10.0)
CAMERA = Intrinsics.from_fov(64, 48, 60)


def slanted_plane(height: int = 48, width: int = 64) -> torch.Tensor:
    """A wall seen aslant: inverse depth is linear in the pixel."""
    rows = torch.linspace(0, 1, height)[:, None]
    return 1 / (0.3 + 0.5 * rows + 0.3 * torch.linspace(0, 1, width))


def test_samples_of_a_plane_have_full_weight_and_their_own_depth():
    depth = slanted_plane()
    anchors = depth_anchors(depth, 48, 64, CONFIG)
    torch.testing.assert_close(anchors.depth, anchors.pick(depth))
    inside = (anchors.rows % 47 > 0) & (anchors.cols % 63 > 0)
    assert anchors.weight[inside].min() > 0.95
    assert len(anchors.depth) == 48 * 64


@pytest.mark.parametrize("size", [(24, 32), (96, 128), (17, 23), (1, 1), (1, 9)])
def test_a_sensor_of_another_size_meets_the_pixels_at_its_centres(size):
    image = slanted_plane(480, 640)
    rows, cols = (
        ((torch.arange(n) + 0.5) * (full / n)).long()
        for n, full in zip(size, (480, 640), strict=True)
    )
    anchors = depth_anchors(image[rows[:, None], cols], 480, 640, CONFIG)
    torch.testing.assert_close(anchors.depth, anchors.pick(image))


@pytest.mark.parametrize(("size", "limit"), [((480, 640), 1000), ((7, 900), 50), ((300, 2), 10)])
def test_no_more_samples_are_taken_than_wanted(size, limit):
    config = AlignmentConfig(max_samples=limit, min_samples=2)
    anchors = depth_anchors(torch.ones(size), *size, config)
    assert limit / 8 < len(anchors.depth) <= limit


def test_edges_speckles_holes_and_range_ends_weigh_less():
    depth = torch.full((48, 64), 2.0)
    depth[:, 32:] = 4.0  # an edge
    depth[10, 10] = 3.0  # a speckle
    depth[20:26, 5:11] = torch.nan
    depth[23, 8] = 2.0  # alone in a hole
    depth[40:, :10] = 0.205  # at the near end
    depth[40:, 50:] = 11.0  # beyond the far end
    weight = depth_anchors(depth, 48, 64, CONFIG).weight.view(48, 64)
    assert weight[5, 20] == 1
    assert weight[5, 31] < 0.1
    assert weight[5, 32] < 0.1
    assert weight[10, 10] < 0.1
    assert weight[23, 8] == 0
    assert weight[22, 8] == 0
    assert 0 < weight[44, 5] < 0.3
    assert weight[44, 55] == 0


def test_a_depth_image_must_be_one():
    with pytest.raises(ValueError, match=r"got \(3, 4, 5\) torch.float32"):
        depth_anchors(torch.ones(3, 4, 5), 4, 5, CONFIG)
    with pytest.raises(ValueError, match=r"got .* torch\.int16"):
        depth_anchors(torch.ones(4, 5, dtype=torch.int16), 4, 5, CONFIG)


def test_anchors_belong_to_one_size_of_image():
    anchors = depth_anchors(torch.ones(4, 5), 48, 64, CONFIG)
    with pytest.raises(ValueError, match=r"48 x 64 image, got \(4, 5\)"):
        anchors.pick(torch.ones(4, 5))


def rigid(yaw_deg: float, x: float, y: float, z: float) -> torch.Tensor:
    cosine, sine = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    return torch.tensor(
        [[cosine, 0, sine, x], [0, 1, 0, y], [-sine, 0, cosine, z], [0, 0, 0, 1.0]]
    )


@pytest.mark.parametrize(
    "camera",
    [
        CAMERA,
        Intrinsics(64, 48, 55, 55, 31, 24, "plumb_bob", (-0.2, 0.05, 1e-3, -1e-3, 0.0)),
        Intrinsics(64, 48, 30, 30, 31, 24, "equidistant", (0.01, -0.005, 0.0, 0.0)),
    ],
)
def test_a_cloud_in_another_frame_falls_onto_its_own_pixels(camera):
    depth = slanted_plane()
    points = backproject(depth, ray_table(camera)).reshape(-1, 3)
    camera_from_lidar = rigid(30, 0.1, -0.2, 0.3)
    homogeneous = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    in_lidar = (homogeneous @ torch.linalg.inv(camera_from_lidar).T)[:, :3]
    anchors = point_anchors(in_lidar, camera_from_lidar, camera, CONFIG)
    assert len(anchors.depth) > 0.99 * len(points)
    torch.testing.assert_close(anchors.depth, anchors.pick(depth), atol=1e-4, rtol=1e-4)
    assert anchors.weight.mean() > 0.9


def test_points_behind_something_nearer_are_left_out():
    wall = backproject(torch.full((48, 64), 5.0), ray_table(CAMERA)).reshape(-1, 3)
    near = backproject(torch.full((48, 64), 1.0), ray_table(CAMERA))[:, :32].reshape(-1, 3)
    anchors = point_anchors(torch.cat([wall, near]), torch.eye(4), CAMERA, CONFIG)
    seen = anchors.weight > 0
    is_corner = (anchors.cols < 4) & ((anchors.rows < 4) | (anchors.rows >= 44))
    assert (anchors.depth[seen & (anchors.cols < 28) & ~is_corner] == 1).all()
    assert (anchors.depth[seen & (anchors.cols > 40)] == 5).all()


@pytest.mark.parametrize("count", [2000, 30000])
def test_the_ground_does_not_hide_itself(count):
    camera = Intrinsics.from_focal(640, 480, 500)
    generator = torch.Generator().manual_seed(0)
    z = 1 + 9 * torch.rand(count, generator=generator)
    x = (torch.rand(count, generator=generator) - 0.5) * z
    ground = torch.stack([x, torch.full_like(z, 0.5), z], dim=1)
    anchors = point_anchors(ground, torch.eye(4), camera, CONFIG)
    is_far = anchors.depth > 5
    assert (anchors.weight[is_far & (anchors.depth < 9)] > 0).float().mean() > 0.5


def test_rays_without_a_return_and_the_robot_s_own_body_hide_nothing():
    wall = backproject(torch.full((48, 64), 5.0), ray_table(CAMERA)).reshape(-1, 3)
    body = wall * 0.02
    nothing = torch.zeros(5000, 3)
    anchors = point_anchors(torch.cat([wall, body, nothing]), torch.eye(4), CAMERA, CONFIG)
    assert len(anchors.depth) == len(wall)
    assert (anchors.weight > 0).all()


def test_depths_out_of_range_are_not_in_the_image_that_borders_are_made_of():
    depth = torch.full((48, 64), 2.0)
    depth[:9], depth[9:20], depth[20:30] = 65.535, 0.01, -1.0
    kept = depth_anchors(depth, 48, 64, CONFIG).sensor_depth
    assert torch.isnan(kept[:30]).all()
    assert (kept[30:] == 2).all()


def test_bad_clouds_are_named():
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) + 1
    for reason, cloud in {
        "behind_camera": points * torch.tensor([1, 1, -1]),
        "no_overlap": points + torch.tensor([100.0, 0, 0]),
        "few_samples": points[:10],
    }.items():
        with pytest.raises(AlignmentError) as caught:
            point_anchors(cloud, torch.eye(4), CAMERA, CONFIG)
        assert caught.value.reason == reason
    with pytest.raises(AlignmentError, match="got 0"):
        point_anchors(torch.full((500, 3), torch.nan), torch.eye(4), CAMERA, CONFIG)
    with pytest.raises(ValueError, match=r"got \(500, 4\) and \(4, 4\)"):
        point_anchors(torch.ones(500, 4), torch.eye(4), CAMERA, CONFIG)


@pytest.mark.parametrize("has_camera", [True, False])
def test_moge_s_points_become_metres(has_camera):
    depth = slanted_plane(96, 128)
    camera = Intrinsics.from_fov(128, 96, 55)
    points = backproject(depth, ray_table(camera))
    mask = torch.ones(96, 128)
    mask[:10] = 0.0
    spoilt = points.clone()
    spoilt[:10] = 77.0
    # What the heads give: points without their shift along z, in a unit of their own.
    moved = (spoilt - torch.tensor([0, 0, 0.7])) / 2.5
    geometry = MoGe2Geometry(moved[None], moved[None], mask[None], torch.tensor([2.5]))
    anchors = geometry_anchors(geometry, camera if has_camera else None)
    known = anchors.weight > 0
    assert anchors.source == "moge2"
    assert known.sum() == 86 * 128
    error = (anchors.depth - anchors.pick(depth))[known].abs()
    assert error.max() < 2e-3


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (torch.tensor([0.001, 0.003, 65.535, torch.nan]), "metres in a 16UC1"),
        (torch.tensor([450.0, 3000.0, 60.0]), "millimetres in a 32FC1"),
    ],
)
def test_a_mixed_up_unit_is_seen(depth, words):
    with pytest.raises(AlignmentError, match=words) as caught:
        check_unit(depth)
    assert caught.value.reason == "wrong_unit"


def test_ordinary_depths_and_nothing_at_all_are_no_mixed_up_unit():
    check_unit(torch.tensor([0.04, 0.6, 300.0, -1.0, torch.nan]))
    check_unit(torch.full((4,), torch.nan))


def test_depth_anchors_take_an_array_as_they_take_a_tensor() -> None:
    depth = torch.linspace(0.5, 5, 48 * 64).view(48, 64)
    of_array, of_tensor = (depth_anchors(one, 48, 64, CONFIG) for one in (depth.numpy(), depth))
    assert torch.equal(of_array.depth, of_tensor.depth)
