"""How sure a frame's metres are, where samples are and where they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.alignment.confidence import local_confidence
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.types import Alignment

HEIGHT, WIDTH = 96, 128
CONFIG = AlignmentConfig()
FITTED = Alignment(1.0, 0.5, "depth", "fitted", rmse_m=0.05, inlier_ratio=0.9)
DEPTH = 1 + torch.arange(WIDTH).expand(HEIGHT, WIDTH) / WIDTH


def test_it_is_high_where_samples_agree_and_low_where_they_do_not() -> None:
    sensor = DEPTH.clone()
    sensor[:, WIDTH // 2 :] *= 1.1
    confidence = local_confidence(DEPTH, FITTED, depth_anchors(sensor, HEIGHT, WIDTH, CONFIG))
    assert confidence.shape == (HEIGHT, WIDTH)
    assert (confidence[:, : WIDTH // 2 - 32] > 0.95).all()
    assert (confidence[:, WIDTH // 2 + 32 :] < 0.05).all()


def test_without_samples_the_fit_s_residual_speaks() -> None:
    near, far = (local_confidence(torch.full((32, 32), z), FITTED) for z in (0.5, 5.0))
    assert near.mean() < 0.3
    assert far.mean() > 0.95


def test_what_nothing_measured_has_none() -> None:
    given = Alignment(1.0, 0.5, "constant")
    assert (local_confidence(DEPTH, given) == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33), (100, 50)])
def test_any_size_will_do_and_what_is_invalid_has_none(size: tuple[int, int]) -> None:
    depth = torch.full(size, 3.0)
    depth[0, 0] = torch.nan
    anchors = depth_anchors(torch.full(size, 3.0), *size, CONFIG)
    confidence = local_confidence(depth, FITTED, anchors)
    assert confidence.shape == size
    assert confidence[0, 0] == 0
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_each_frame_with_metres_has_it_held_ones_too() -> None:
    aligner = FrameAligner(CONFIG)
    relative = (DEPTH.log1p() - 0.5) / 1.5
    fitted = aligner.align(relative, depth_anchors(DEPTH, HEIGHT, WIDTH, CONFIG), 0.0)
    blind = depth_anchors(torch.full_like(DEPTH, torch.nan), HEIGHT, WIDTH, CONFIG)
    held = aligner.align(relative, blind, 0.1)
    assert held.alignment is not None and held.alignment.state == "held"
    for aligned in (fitted, held):
        assert aligned.confidence is not None and aligned.confidence.mean() > 0.9
    lost = aligner.align(relative, blind, 10.0)
    assert (lost.metric_depth, lost.confidence) == (None, None)


def test_a_better_fit_is_surer() -> None:
    worse, better = (
        local_confidence(DEPTH, replace(FITTED, rmse_m=rmse)).mean() for rmse in (0.2, 0.02)
    )
    assert worse < better
