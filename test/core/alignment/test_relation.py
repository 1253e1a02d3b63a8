"""Metres only from a sensor that shows what the image shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.alignment.aligner import FrameAligner, alignment_from_depth
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.relation import (
    MIN_CELLS,
    check_explained,
    check_related,
    edge_correlation,
)
from ppd_core.types import AlignmentError

CONFIG = AlignmentConfig()
HEIGHT, WIDTH = 120, 160


def boxes(seed: int) -> tuple[np.ndarray, torch.Tensor]:
    """An image of boxes of one colour each before a slanted floor, and their depth."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    depth = np.broadcast_to(6.0 - rows * 4.5 / HEIGHT, (HEIGHT, WIDTH)).copy()
    for z in (3.5, 2.5, 2.0, 1.2):
        top, left = rng.integers(0, HEIGHT - 40), rng.integers(0, WIDTH - 40)
        part = np.s_[top : top + rng.integers(15, 40), left : left + rng.integers(15, 40)]
        depth[part] = z
        image[part] = rng.integers(0, 255, 3)
    noisy = image + rng.normal(0, 3, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), torch.from_numpy(depth)


def sensed(depth: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """What a depth camera makes of it: noise, and holes at borders."""
    generator = torch.Generator().manual_seed(seed)
    noise = 1 + 0.005 * torch.randn(depth.shape, generator=generator)
    holes = torch.rand(depth.shape, generator=generator) < 0.05
    return torch.where(holes, torch.nan, depth * noise)


def relative_of(depth: torch.Tensor) -> torch.Tensor:
    return (depth.log1p() - 0.5) / 1.5


def anchors_of(depth: torch.Tensor) -> Anchors:
    return depth_anchors(depth, *depth.shape, CONFIG)


def noise(low_m: float, high_m: float) -> torch.Tensor:
    values = torch.rand((HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    return low_m + (high_m - low_m) * values


def shuffled(depth: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(depth.numel(), generator=torch.Generator().manual_seed(2))
    return depth.flatten()[order].view_as(depth)


@pytest.mark.parametrize("seed", range(8))
def test_a_sensor_of_the_same_scene_gives_metres(seed):
    image, depth = boxes(seed)
    align = alignment_from_depth(sensed(depth))
    assert align(image, relative_of(depth), lambda: None).failure is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "other",
    [
        lambda seed, depth: sensed(boxes(seed + 100)[1]),
        lambda seed, depth: sensed(depth).flip(1),
        lambda seed, depth: shuffled(sensed(depth)),
        lambda seed, depth: noise(2.0, 4.0),
        lambda seed, depth: noise(0.3, 10.0),
        lambda seed, depth: sensed(depth).roll((12, 12), (0, 1)),
    ],
    ids=["another_scene", "mirrored", "shuffled", "noise", "wide_noise", "shifted"],
)
def test_a_sensor_of_anything_else_gives_none(seed, other):
    image, depth = boxes(seed)
    aligned = alignment_from_depth(other(seed, depth))(image, relative_of(depth), lambda: None)
    assert aligned.metric_depth is None
    assert aligned.failure.reason in ("not_registered", "inverted", "few_inliers")


def test_what_is_refused_is_neither_tracked_nor_kept_to_be_held():
    image, depth = boxes(0)
    config = AlignmentConfig(hold_s=0.5)
    aligner = FrameAligner(config)
    for number in range(20):
        anchors = depth_anchors(sensed(depth, number).flip(1), HEIGHT, WIDTH, config)
        aligned = aligner.align(relative_of(depth), anchors, number / 10, image=image)
        assert aligned.metric_depth is None


def test_without_an_image_nothing_is_compared():
    _, depth = boxes(0)
    anchors = depth_anchors(sensed(depth).roll(12, 1), HEIGHT, WIDTH, CONFIG)
    assert FrameAligner(CONFIG).align(relative_of(depth), anchors, 0.0).failure is None


@pytest.mark.parametrize("size", [(16, 16), (60, 80), (240, 320)])
def test_sensor_and_image_may_be_of_different_sizes(size):
    image, depth = boxes(3)
    other = torch.nn.functional.interpolate(depth[None, None], size=size)[0, 0]
    correlation, count = edge_correlation(image, other)
    assert correlation > 0.2
    assert count >= MIN_CELLS or size == (16, 16)


def test_an_image_without_an_edge_is_left_to_the_fit():
    _, depth = boxes(4)
    dark = np.random.default_rng(0).integers(0, 3, (4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    check_related(dark, relative_of(depth), anchors_of(depth), CONFIG)
    with pytest.raises(AlignmentError) as error:
        check_related(dark, relative_of(depth), anchors_of(depth.flip(0)), CONFIG)
    assert error.value.reason == "unrelated"


@pytest.mark.parametrize("what", ["wall", "floor", "holes"])
def test_a_sensor_without_an_edge_is_left_to_the_fit(what):
    image, _ = boxes(4)
    rows = torch.arange(HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    depth = {
        "wall": torch.full((HEIGHT, WIDTH), 2.0),
        "floor": 1.2 / (0.02 + 0.005 * rows),  # 60 m at the first row, 2 m at the last.
        "holes": torch.full((HEIGHT, WIDTH), torch.nan),
    }[what]
    noise = 1 + 0.002 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(0))
    check_related(image, relative_of(depth), anchors_of(depth * noise), CONFIG)


def points_of(depth: torch.Tensor, count: int) -> tuple[torch.Tensor, Anchors]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randperm(depth.numel(), generator=generator)[:count]
    return pixels, Anchors(
        height=HEIGHT,
        width=WIDTH,
        rows=pixels // WIDTH,
        cols=pixels % WIDTH,
        depth=depth.flatten()[pixels],
        weight=torch.ones(count),
        source="lidar",
    )


def test_points_must_be_explained_better_than_by_chance():
    _, depth = boxes(5)
    pixels, anchors = points_of(depth, 500)
    relative = relative_of(depth).flatten()[pixels]
    check_explained(relative, anchors)
    with pytest.raises(AlignmentError, match="by chance") as error:
        check_explained(relative.roll(1), anchors)
    assert error.value.reason == "unrelated"
    with pytest.raises(AlignmentError, match="by chance"):
        check_explained(-relative, anchors)


def test_points_on_a_wall_need_not_be_explained():
    wall = 2 + 0.01 * torch.randn((HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    _, anchors = points_of(wall, 500)
    check_explained(torch.rand(500, generator=torch.Generator().manual_seed(1)), anchors)


def test_nothing_is_held_beyond_a_cut():
    image, depth = boxes(0)
    other, _ = boxes(1)
    aligner = FrameAligner(CONFIG)
    blind = anchors_of(torch.full_like(depth, torch.nan))
    assert aligner.align(relative_of(depth), anchors_of(depth), 0.0, image=image).failure is None
    again = FrameAligner(CONFIG)
    again.restore(aligner.state())
    for one in (aligner, again):
        held = one.align(relative_of(depth), blind, 0.1, image=image)
        assert held.alignment is not None and held.alignment.state == "held"
        lost = one.align(relative_of(depth), blind, 0.2, image=other)
        assert lost.alignment is None
