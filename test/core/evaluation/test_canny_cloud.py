from __future__ import annotations

import sys

import pytest
import torch

from ppd_core import Intrinsics
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS, canny_edges, edge_cloud_distance
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.edges import dilate

pytest.importorskip("scipy", reason="pip install ppd_ros[eval]")

HEIGHT, WIDTH = 32, 40
EDGE_COLUMN = 20
NARROW = Intrinsics.from_focal(WIDTH, HEIGHT, 1e7)
"""Its rays are one ray: what is left of a cloud is its depths."""
INTRINSICS = Intrinsics.from_fov(WIDTH, HEIGHT, 60)


@pytest.fixture
def step() -> torch.Tensor:
    """(1, H, W): two walls facing the camera, 1.5 m and 2 m away."""
    depth = torch.full((1, HEIGHT, WIDTH), 2.0)
    depth[..., :EDGE_COLUMN] = 1.5
    return depth


@pytest.fixture
def valid(step) -> torch.Tensor:
    return torch.ones_like(step, dtype=torch.bool)


def test_an_edge_is_a_line_on_the_left_of_the_step(step, valid):
    for depth in (step[0], step[0].flip(1)):
        edges = canny_edges(depth, valid[0])
        assert edges.all(dim=0).nonzero().flatten().tolist() == [EDGE_COLUMN - 1]
        assert edges.sum() == HEIGHT


@pytest.mark.parametrize(("ratio", "has_edge"), [(1.09, False), (1.11, True)])
@pytest.mark.parametrize("nearest_m", [0.2, 40.0])
def test_the_threshold_is_a_ratio_at_every_distance(step, valid, ratio, has_edge, nearest_m):
    depth = torch.where(step[0] < 1.8, nearest_m, ratio * nearest_m)
    assert canny_edges(depth, valid[0]).any() == has_edge


def test_a_hole_has_no_edge_and_hides_none(step, valid):
    wall, mask = torch.full((HEIGHT, WIDTH), 2.0), valid[0].clone()
    mask[5:12, 15:25] = False
    wall[~mask] = 0.0
    assert not canny_edges(wall, mask).any()
    depth = torch.where(mask, step[0], torch.nan)
    assert canny_edges(depth, mask).any(dim=1).all()
    assert not canny_edges(depth, torch.zeros_like(mask)).any()


def test_truth_has_no_distance(step, valid):
    depth = step * torch.linspace(0.9, 1.1, HEIGHT)[:, None]
    assert edge_cloud_distance(depth, depth, valid, INTRINSICS).tolist() == [0]


@pytest.mark.parametrize("smeared_px", [1, 2, 3])
def test_a_smeared_step_has_its_closed_form(step, valid, smeared_px):
    # The band's five columns end at 1.5 m, 1.5 m, 1.5 m | 2 m, 2 m. k columns of even steps take
    # the place of k of them: the i-th is 0.5 min(i, k + 1 - i) / (k + 1) from a wall.
    first = EDGE_COLUMN - 1 - smeared_px // 2
    predicted = step.clone()
    places = torch.arange(1, smeared_px + 1)
    predicted[..., first : first + smeared_px] = 1.5 + 0.5 * places / (smeared_px + 1)
    off_wall = 0.5 * torch.minimum(places, smeared_px + 1 - places) / (smeared_px + 1)
    there = off_wall.sum().item() / 5
    # Both walls are still there, so no true point is away from a predicted one.
    found = edge_cloud_distance(predicted, step, valid, NARROW).item()
    assert found == pytest.approx(there / 2, rel=1e-4)


def test_a_prediction_all_too_far_is_as_far_away(step, valid):
    found = edge_cloud_distance(step + 0.1, step, valid, NARROW)
    assert found.item() == pytest.approx(0.1, rel=1e-4)


def test_it_is_the_mean_over_all_pairs(step, valid):
    noise = torch.rand((2, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    truth = torch.cat([step, step.flip(1, 2)])
    predicted = truth * (1 + 0.1 * noise)
    found = edge_cloud_distance(predicted, truth, valid.expand(2, -1, -1), INTRINSICS)
    rays = ray_table(INTRINSICS).double()
    for index in range(2):
        band = dilate(canny_edges(truth[index], valid[0]), 2)
        one = (predicted[index][..., None].double() * rays)[band]
        other = (truth[index][..., None].double() * rays)[band]
        distance = (one[:, None] - other[None]).norm(dim=-1)
        expected = (distance.amin(0).mean() + distance.amin(1).mean()) / 2
        assert found[index].item() == pytest.approx(expected.item(), abs=1e-6)


def test_no_edge_or_no_prediction_at_one_is_nan(step, valid):
    wall = torch.full_like(step, 2.0)
    assert edge_cloud_distance(wall, wall, valid, INTRINSICS).isnan().all()
    predicted = step.clone()
    predicted[:, 3, EDGE_COLUMN] = torch.nan
    assert edge_cloud_distance(predicted, step, valid, INTRINSICS).isnan().all()
    predicted = step.clone()
    predicted[:, 3, 0] = torch.nan  # not in the band
    assert edge_cloud_distance(predicted, step, valid, INTRINSICS).item() == 0


@pytest.mark.parametrize("name", [*CLOUD_METRICS])
def test_every_cloud_metric_takes_a_batch(step, valid, name):
    metric = CLOUD_METRICS[name]
    batch = [one.expand(3, -1, -1)[:, None] for one in (1.2 * step, step, valid)]
    found = metric.function(*batch, INTRINSICS)
    assert found.shape == (3,)
    assert (found > 0.1).all()
    assert metric.unit == "m"


def test_what_does_not_fit_is_refused(step, valid, monkeypatch):
    with pytest.raises(ValueError, match="must be of the images, 40 x 32, got 41 x 32"):
        edge_cloud_distance(step, step, valid, Intrinsics.from_fov(41, 32, 60))
    with pytest.raises(ValueError, match="band_px must be >= 0, got -1"):
        edge_cloud_distance(step, step, valid, INTRINSICS, band_px=-1)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ImportError, match=r"needs SciPy: pip install ppd_ros\[eval\]"):
        edge_cloud_distance(step, step, valid, INTRINSICS)
