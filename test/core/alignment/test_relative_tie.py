from __future__ import annotations

import torch

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.relative_tie import RelativeTie

HEIGHT, WIDTH = 48, 64


def scene() -> torch.Tensor:
    """Relative depth of a floor with boxes on it."""
    depth = torch.linspace(1.0, 0.1, HEIGHT)[:, None].repeat(1, WIDTH)
    for top, left, value in ((10, 8, 0.3), (24, 40, 0.15), (30, 20, 0.05)):
        depth[top : top + 12, left : left + 12] = value
    return depth


def test_the_first_frame_is_as_it_is() -> None:
    tie = RelativeTie(AlignmentConfig())
    torch.testing.assert_close(tie.steadied(scene(), 0.0), scene(), rtol=0, atol=1e-6)


def test_a_frame_of_another_scale_is_brought_to_that_of_the_first() -> None:
    tie = RelativeTie(AlignmentConfig())
    tie.steadied(scene(), 0.0)
    steadied = tie.steadied(0.8 * scene() + 0.1, 1 / 30)
    torch.testing.assert_close(steadied, scene(), rtol=0, atol=0.01)


def test_the_model_s_own_scale_comes_back_in_seconds() -> None:
    tie = RelativeTie(AlignmentConfig())
    tie.steadied(scene(), 0.0)
    own = 0.8 * scene() + 0.1
    errors = [(tie.steadied(own, n / 3) - own).abs().mean() for n in range(1, 90)]
    assert errors[0] > 0.04
    assert errors[-1] < 0.005


def test_a_frame_that_shows_another_scene_has_its_own_scale() -> None:
    tie = RelativeTie(AlignmentConfig())
    tie.steadied(scene(), 0.0)
    other = scene().flip(0)
    torch.testing.assert_close(tie.steadied(other, 1 / 30), other, rtol=0, atol=1e-6)


def test_after_a_reset_a_frame_has_its_own_scale() -> None:
    tie = RelativeTie(AlignmentConfig())
    tie.steadied(scene(), 0.0)
    tie.reset()
    own = 0.8 * scene() + 0.1
    torch.testing.assert_close(tie.steadied(own, 1 / 30), own, rtol=0, atol=1e-6)


def test_not_tracked_every_frame_has_its_own_scale() -> None:
    tie = RelativeTie(AlignmentConfig(is_tracked=False))
    tie.steadied(scene(), 0.0)
    own = 0.8 * scene() + 0.1
    torch.testing.assert_close(tie.steadied(own, 1 / 30), own, rtol=0, atol=1e-6)
