"""What a sensor or the model may get wrong before surfaces are chosen: never a confident fake."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.aligner import FrameAligner, alignment_from_depth
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.types import AlignedDepth

CONFIG = AlignmentConfig(has_surfaces=True)
HEIGHT, WIDTH = 96, 128
CHOOSER = SurfaceChooser()


def room(height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, Tensor]:
    """An image of boxes before a slanted wall, and its depth."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 110, np.uint8)
    depth = np.broadcast_to(np.linspace(4, 2, width, dtype=np.float32), (height, width)).copy()
    for z in np.linspace(1.8, 0.6, 12):
        top, left = rng.uniform(0, 0.8, 2)
        high, wide = rng.uniform(0.08, 0.2, 2)
        rows, cols = (
            (np.array(one) * side).astype(int)
            for one, side in (((top, top + high), height), ((left, left + wide), width))
        )
        depth[slice(*rows), slice(*cols)] = z
        image[slice(*rows), slice(*cols)] = rng.integers(0, 255, 3)
    return image, torch.from_numpy(depth)


def settled(image: np.ndarray, relative: Tensor, sensor: Tensor) -> AlignedDepth:
    aligned = alignment_from_depth(sensor, CONFIG)(image, relative, lambda: None)
    return CHOOSER(image, aligned)


def relative_of(depth: Tensor) -> Tensor:
    return (depth.log1p() - 0.5) / 1.2


def enlarged(depth: Tensor) -> Tensor:
    """The middle of a depth image, at the size of the whole."""
    middle = depth[None, None, HEIGHT // 4 : -HEIGHT // 4, WIDTH // 4 : -WIDTH // 4]
    return F.interpolate(middle, size=depth.shape)[0, 0]


def test_a_good_sensor_is_settled_and_sure() -> None:
    image, depth = room()
    sensor = depth.clone()
    sensor[20:40, 60:80] = torch.nan
    found = settled(image, relative_of(depth), sensor)
    assert found.metric_depth is not None and found.confidence is not None
    assert ((found.metric_depth / depth).log().abs() < 0.03).float().mean() > 0.97
    assert found.confidence.mean() > 0.9


@pytest.mark.parametrize(
    ("sensor", "reason"),
    [
        (lambda depth: torch.full_like(depth, torch.nan), "few_samples"),
        (lambda depth: 1000 * depth, "wrong_unit"),
        (lambda depth: torch.full_like(depth, 2.0), "flat_samples"),
        (lambda depth: depth.roll((12, 17), (0, 1)), "not_registered"),
        (enlarged, "not_registered"),
    ],
    ids=["holes", "millimetres", "one_plane", "shifted", "scaled"],
)
def test_a_sensor_that_cannot_be_trusted_gives_no_metres_and_a_reason(
    sensor: object, reason: str
) -> None:
    image, depth = room()
    found = settled(image, relative_of(depth), sensor(depth))  # type: ignore[operator]
    assert found.metric_depth is None and found.confidence is None
    assert found.failure is not None and found.failure.reason == reason


def test_a_model_that_says_nothing_gives_no_metres() -> None:
    image, depth = room()
    found = settled(image, torch.full_like(depth, torch.nan), depth)
    assert found.metric_depth is None
    assert found.failure is not None and found.failure.reason == "few_samples"


def test_three_points_of_a_lidar_are_too_few() -> None:
    image, depth = room()
    places = torch.tensor([10, 50, 90])
    anchors = Anchors(HEIGHT, WIDTH, places, places, depth[places, places], torch.ones(3), "lidar")
    found = FrameAligner(CONFIG).align(relative_of(depth), anchors, 0.0, image=image)
    assert CHOOSER(image, found).metric_depth is None
    assert found.failure is not None and found.failure.reason == "few_samples"


LARGE = pytest.param((3000, 4000), marks=pytest.mark.xdist_group("memory"))


@pytest.mark.parametrize("size", [(16, 16), (33, 97), LARGE])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    image, depth = room(*size)
    found = settled(image, relative_of(depth), depth)
    assert found.metric_depth is not None and found.confidence is not None
    assert found.metric_depth.shape == found.confidence.shape == size
    right = ((found.metric_depth / depth).log().abs() < 0.03).float().mean()
    assert right > (0.99 if size[0] > 1000 else 0.6)
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_where_neither_sensor_nor_model_sees_the_confidence_is_lower() -> None:
    """A block unseen that hides boxes, and the model no help there."""
    image, depth = room()
    block = np.s_[24:72, 32:80]
    sensor, relative = depth.clone(), relative_of(depth)
    sensor[block] = torch.nan
    relative[block] = torch.rand(48, 48, generator=torch.Generator().manual_seed(0))
    found = settled(image, relative, sensor)
    assert found.metric_depth is not None and found.confidence is not None
    inside = torch.zeros_like(depth, dtype=torch.bool)
    inside[block] = True
    assert found.confidence[inside].mean() < found.confidence[~inside].mean() - 0.02
