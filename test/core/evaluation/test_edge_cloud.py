from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from ppd_core import Intrinsics
from ppd_core.evaluation import edge_cloud
from ppd_core.evaluation.edge_cloud import edge_chamfer, edge_pixels, near_edge_mask
from ppd_core.geometry.camera import ray_table

HEIGHT, WIDTH = 32, 40
INTRINSICS = Intrinsics.from_fov(WIDTH, HEIGHT, 60)
EDGE_COLUMN = 20


@pytest.fixture
def step() -> torch.Tensor:
    """Two walls facing the camera, 1.5 m and 2 m away: one edge straight down the image."""
    depth = torch.full((1, HEIGHT, WIDTH), 2.0)
    depth[..., :EDGE_COLUMN] = 1.5
    return depth


@pytest.fixture
def valid(step) -> torch.Tensor:
    return torch.ones_like(step, dtype=torch.bool)


def shares(predicted: torch.Tensor, truth: torch.Tensor, **options) -> tuple[float, float]:
    pixels = edge_pixels(predicted, truth, torch.ones_like(truth, dtype=torch.bool), **options)
    near_count = pixels.near_edge.sum().item()
    return pixels.flying.sum().item() / near_count, pixels.unresolved.sum().item() / near_count


def box_blurred(depth: torch.Tensor, width_px: int) -> torch.Tensor:
    """The mean of log depth over so many columns."""
    padded = F.pad(depth.log(), (width_px // 2,) * 2, mode="replicate")
    return F.avg_pool1d(padded, width_px, stride=1).exp()


def test_near_an_edge_are_so_many_pixels_on_either_side(step, valid):
    for radius in (1, 2, 3):
        near = near_edge_mask(step, valid, radius_px=radius)
        columns = near[0].all(dim=0).nonzero().flatten().tolist()
        assert columns == list(range(EDGE_COLUMN - radius, EDGE_COLUMN + radius))
        assert near.sum() == HEIGHT * 2 * radius


def test_truth_has_no_flying_pixels(step):
    assert shares(step, step) == (0, 0)


def test_neither_has_truth_with_slopes_and_a_thing_too_thin_to_have_an_inside():
    rays = ray_table(INTRINSICS)
    depth = torch.where(rays[..., 1] > 0, 0.7 / rays[..., 1], torch.inf).clamp(max=4)[None]
    depth[:, 4:28, 12:14] = 1.0
    depth[:, 8:24, 25:35] = 2.0 + 0.01 * torch.arange(10)
    assert shares(depth, depth) == (0, 0)


@pytest.mark.parametrize(
    ("width_px", "radius_px", "expected"),
    # A box of width w makes the steps 1/w, 2/w, ... (w - 1)/w; those within 0.2 of either end
    # are on a surface.
    [(3, 2, 2 / 4), (3, 3, 2 / 6), (4 + 3, 3, 4 / 6)],
)
def test_a_box_blur_has_its_analytic_share(step, width_px, radius_px, expected):
    flying, unresolved = shares(box_blurred(step, width_px), step, radius_px=radius_px)
    assert flying == pytest.approx(expected)
    assert unresolved == 0


@pytest.mark.parametrize(
    ("sigma_px", "radius_px", "expected"),
    # Columns lie 0.5, 1.5 and 2.5 px from the edge and hold Phi(0.5 / s), Phi(1.5 / s), ... of
    # their own surface: 0.89 | 0.73, 0.97 | 0.60, 0.77, 0.89.
    [(0.4, 2, 0), (0.8, 2, 2 / 4), (2.0, 3, 4 / 6)],
)
def test_a_gaussian_blur_has_its_analytic_share(step, sigma_px, radius_px, expected):
    from_edge = torch.arange(WIDTH) + 0.5 - EDGE_COLUMN
    part = 0.5 * (1 + torch.erf(from_edge / sigma_px / math.sqrt(2)))
    predicted = torch.lerp(torch.tensor(1.5).log(), torch.tensor(2.0).log(), part).exp()
    flying, _ = shares(predicted.expand_as(step), step, radius_px=radius_px)
    assert flying == pytest.approx(expected)


def test_a_sharp_prediction_of_wrong_level_has_none(step):
    assert shares(step * 1.07, step) == (0, 0)
    # Each surface with an error of its own: 53 % of the jump is left.
    assert shares(torch.where(step > 1.8, 1.75, 1.5), step) == (0, 0)


def test_a_sharp_edge_a_pixel_aside_has_none(step):
    assert shares(step.roll(1, dims=-1), step)[0] == 0


def test_a_constant_between_the_surfaces_flies_everywhere(step):
    middle = math.sqrt(1.5 * 2.0)
    assert shares(torch.full_like(step, middle), step) == (1, 1)


def test_a_constant_flies_where_it_is_off_both_surfaces():
    depth = torch.full((1, HEIGHT, WIDTH), 8.0)
    depth[..., :EDGE_COLUMN] = 1.0
    depth[..., :16, EDGE_COLUMN:] = 2.0
    flying, unresolved = shares(torch.full_like(depth, 3.5), depth)
    assert flying > 0.9
    assert unresolved > 0.9


def test_an_overlooked_object_is_unresolved_but_does_not_fly(step):
    assert shares(torch.full_like(step, 2.0), step) == (0, 1)


def test_an_edge_turned_around_is_unresolved(step):
    assert shares(3.0 / step, step)[1] == 1


def test_a_thin_thing_halfway_to_the_wall_flies():
    depth = torch.full((1, HEIGHT, WIDTH), 2.0)
    depth[..., 19:21] = 1.0
    halfway = torch.where(depth < 2, 1.4, 2.0)
    assert shares(halfway, depth)[0] == pytest.approx(2 / 6)
    assert shares(1.05 * depth, depth)[0] == 0  # what is off all around is no flight


def test_a_nan_prediction_flies(step):
    predicted = step.clone()
    predicted[..., EDGE_COLUMN] = torch.nan
    assert shares(predicted, step)[0] == pytest.approx(1 / 4)


def test_each_image_of_a_batch_is_its_own(step, valid):
    blurred = box_blurred(step, 3)
    both = edge_pixels(
        torch.cat([step, blurred])[:, None],
        torch.cat([step, step])[:, None],
        valid.repeat(2, 1, 1)[:, None],
    )
    alone = edge_pixels(blurred, step, valid)
    assert not both.flying[0].any()
    assert torch.equal(both.flying[1], alone.flying[0])


def test_what_is_not_valid_is_neither_near_nor_read(step, valid):
    truth, mask = step.clone(), valid.clone()
    mask[:, :10] = False
    truth[:, :10] = torch.nan
    pixels = edge_pixels(box_blurred(step, 3), truth, mask)
    assert not pixels.near_edge[:, :10].any()
    assert pixels.flying.sum() / pixels.near_edge.sum() == 0.5


def test_chamfer_of_truth_is_zero(step, valid):
    assert edge_chamfer(step[0], step[0], valid[0], INTRINSICS) == pytest.approx(0, abs=1e-6)


def test_chamfer_of_two_walls_moved_apart_is_at_least_the_way(step, valid):
    # Rays nearly along the axis: the nearest true point is straight ahead.
    narrow = Intrinsics.from_fov(WIDTH, HEIGHT, 1)
    moved = edge_chamfer(step[0] + 0.1, step[0], valid[0], narrow)
    assert moved == pytest.approx(0.1, rel=1e-2)


def test_chamfer_sees_an_edge_in_the_wrong_place_and_a_blur(step, valid):
    aside = edge_chamfer(step[0].roll(1, dims=-1), step[0], valid[0], INTRINSICS)
    blurred = edge_chamfer(box_blurred(step, 3)[0], step[0], valid[0], INTRINSICS)
    assert 0 < aside < blurred


def test_chamfer_matches_all_pairs(step, valid):
    noise = torch.rand(step.shape, generator=torch.Generator().manual_seed(0))
    predicted = step * (1 + 0.1 * noise)
    near = near_edge_mask(step, valid)[0]
    rays = ray_table(INTRINSICS).double()
    one = (predicted[0][..., None] * rays)[near]
    other = (step[0][..., None] * rays)[near]
    distance = (one[:, None] - other[None]).norm(dim=-1)
    expected = (distance.amin(0).mean() + distance.amin(1).mean()) / 2
    found = edge_chamfer(predicted[0], step[0], valid[0], INTRINSICS)
    assert found == pytest.approx(expected.item(), rel=1e-4)


def test_chamfer_without_an_edge_is_nan(valid):
    wall = torch.full((HEIGHT, WIDTH), 2.0)
    assert math.isnan(edge_chamfer(wall, wall, valid[0], INTRINSICS))


def test_wrong_arguments_are_refused(step, valid):
    with pytest.raises(ValueError, match=r"got \(1, 32, 40\), \(32, 40\) and \(1, 32, 40\)"):
        edge_pixels(step, step[0], valid)
    with pytest.raises(ValueError, match="radius_px must be >= 1, got 0"):
        edge_pixels(step, step, valid, radius_px=0)


def test_without_scipy_the_chamfer_distance_is_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    depth = torch.full((24, 32), 3.0)
    depth[6:16, 8:20] = 1.0
    predicted = depth * (1 + 0.05 * torch.randn(depth.shape, generator=generator))
    arguments = (predicted, depth, torch.ones_like(depth, dtype=torch.bool))
    camera = Intrinsics.from_fov(32, 24, 60)
    with_tree = edge_chamfer(*arguments, camera)
    monkeypatch.setattr(edge_cloud, "_tree_builder", lambda: None)
    assert with_tree == pytest.approx(edge_chamfer(*arguments, camera), rel=1e-5) != 0
