import pytest
import torch

from ppd_core.alignment.anchors import Anchors, depth_anchors, sensor_at_image
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.hypotheses import FEATURES, NAMES, surface_hypotheses

H, W = 40, 60
GREY = torch.full((3, H, W), 0.5)


def plane() -> torch.Tensor:
    """Inverse depth, linear in the pixel."""
    rows, cols = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    return 1 / (0.3 + 0.002 * rows + 0.003 * cols)


def walls() -> torch.Tensor:
    """1 m on the left, 2 m on the right."""
    return torch.where(torch.arange(W) < W // 2, 1.0, 2.0).expand(H, W).clone()


def depth_of(found, name: str) -> torch.Tensor:
    index = NAMES.index(name)
    return torch.where(found.is_known[index], found.log_depth[index].exp(), torch.nan)


def test_a_plane_goes_on_through_a_hole_from_each_side() -> None:
    sensor = plane()
    sensor[14:26, 20:40] = torch.nan
    found = surface_hypotheses(GREY, sensor)
    for side in ("left", "right", "up", "down"):
        there = depth_of(found, f"{side}_plane")[16:24, 23:37]
        torch.testing.assert_close(there, plane()[16:24, 23:37], rtol=2e-3, atol=0)
        assert not torch.allclose(depth_of(found, side)[16:24, 23:37], there, rtol=2e-3)


def test_a_hole_between_two_walls_is_of_either() -> None:
    sensor = walls()
    sensor[:, 25:35] = torch.nan
    found = surface_hypotheses(GREY, sensor)
    hole = (slice(5, 35), slice(26, 34))
    assert torch.all(depth_of(found, "left")[hole] == 1)
    torch.testing.assert_close(depth_of(found, "right")[hole], torch.full((30, 8), 2.0))
    assert not torch.isfinite(depth_of(found, "own")[hole]).any()
    nearest = depth_of(found, "nearest")[hole]
    torch.testing.assert_close(nearest, walls()[hole])


def test_depth_flows_in_up_to_an_edge_of_colour() -> None:
    sensor = walls()
    sensor[:, 20:36] = torch.nan
    image = GREY.clone()
    image[:, :, W // 2 :] = 1.0
    inflow = depth_of(surface_hypotheses(image, sensor), "inflow")
    torch.testing.assert_close(inflow[5:35, 20:36], walls()[5:35, 20:36], rtol=1e-2, atol=0)


def test_noise_is_smoothed_and_a_slant_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.002 * torch.randn(H, W, generator=generator)
    found = surface_hypotheses(GREY, 1 / (1 / plane() + noise))
    inner = (slice(8, -8), slice(8, -8))
    error = 1 / depth_of(found, "own") - 1 / plane()
    assert error[inner].std() < 0.4 * 0.002
    exact = surface_hypotheses(GREY, plane())
    torch.testing.assert_close(depth_of(exact, "own"), plane(), rtol=1e-4, atol=0)


def test_each_of_few_samples_counts() -> None:
    sensor = torch.full((H, W), torch.nan)
    sensor[::7, ::7] = plane()[::7, ::7]
    found = surface_hypotheses(GREY, sensor)
    assert torch.isfinite(depth_of(found, "nearest")).all()
    assert depth_of(found, "nearest")[1, 1] == pytest.approx(float(plane()[0, 0]), rel=1e-4)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_network_sees_no_metres(scale: float) -> None:
    sensor = walls()
    sensor[:, 25:35] = torch.nan
    model = walls() * 1.1
    one = surface_hypotheses(GREY, sensor, (model, None)).features
    other = surface_hypotheses(GREY, scale * sensor, (scale * model, None)).features
    torch.testing.assert_close(one, other, rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (3, 50)])
def test_nothing_seen_is_nothing_known(size: tuple[int, int]) -> None:
    found = surface_hypotheses(
        torch.zeros(3, *size), torch.full(size, torch.nan), (torch.full(size, torch.nan), None)
    )
    assert not found.is_known.any()
    assert found.features.shape == (FEATURES, *size)
    assert torch.isfinite(found.features).all()


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="size"):
        surface_hypotheses(GREY, torch.ones(H, W + 1))


def test_a_smaller_sensor_is_brought_to_the_image() -> None:
    anchors = depth_anchors(walls()[::2, ::2], H, W, AlignmentConfig())
    assert torch.equal(sensor_at_image(anchors), walls())


def test_of_points_in_one_pixel_the_nearest_is_seen() -> None:
    z = torch.tensor([3.0, 2.0, 1.0])
    pixel = torch.tensor([1, 1, 1])
    anchors = Anchors(2, 2, pixel, pixel, z, torch.tensor([1.0, 1.0, 0.0]), "lidar")
    seen = sensor_at_image(anchors)
    assert seen[1, 1] == 2
    assert torch.isnan(seen).sum() == 3


def test_what_is_spread_stops_where_the_colour_changes() -> None:
    rows, cols = 40, 60
    image = torch.full((3, rows, cols), 0.3)
    image[:, :, cols // 2 :] = 0.8
    image += 0.01 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    truth = torch.where(torch.arange(cols) < cols // 2, 1.0, 2.0).expand(rows, cols)
    sensor = truth.clone()
    sensor[10:30, cols // 2 - 6 : cols // 2 + 6] = torch.nan
    found = surface_hypotheses(image, sensor)
    spread = found.log_depth[NAMES.index("spread")].exp()
    assert ((spread / truth).log().abs() < 0.05).float().mean() > 0.99


def test_how_far_the_model_is_from_the_sensor_is_seen_where_it_is() -> None:
    rows, cols = 64, 96
    sensor = torch.full((rows, cols), 2.0)
    off = sensor.clone()
    off[:, cols // 2 :] *= 1.2
    image = torch.rand(3, rows, cols, generator=torch.Generator().manual_seed(0))
    features = surface_hypotheses(image, sensor, [sensor, off]).features
    first = 3 + 2 * len(NAMES)
    exact, wrong, *typical = features[first : first + 4]
    assert exact.abs().max() < 1e-3
    assert wrong[:, : cols // 2 - 32].max() < 0.1 < wrong[:, cols // 2 + 32 :].min()
    assert typical[0].max() < 0.1 < typical[1].min()
