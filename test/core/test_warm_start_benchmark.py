"""The benchmark of the warm start on a few frames: what it writes, and what must hold anyway."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core import Intrinsics
from ppd_core.sim.camera import RgbdFrame


def test_it_writes_every_figure_and_the_tables(run_on_clips):
    script, figures, text = run_on_clips("warm_start", scenes=2, moving=9, static=3)
    for name in script.METHODS:
        keys = (*script.COLUMNS, "warm_share")
        assert {f"{name}.{key}" for key in keys} <= figures.keys()
    # Of 9 moving frames and 3 at rest: all but the first of each, and one in five.
    assert figures["warm.warm_share"] == pytest.approx(9 / 12)
    assert figures["warm_endless.warm_share"] == pytest.approx(10 / 12, abs=1e-4)
    assert figures["cold.warm_share"] == figures["cold_half.warm_share"] == 0
    assert figures["cut.false_motion"] == figures["cut.missed_scenes"] == 0
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "old" not in text
    for title in script.METHODS.values():
        assert f"| {title} |" in text


def wall(shift_px: int = 0) -> RgbdFrame:
    """A wall 2 m away, seen by a camera that went to the right by so many of its pixels."""
    camera = Intrinsics.from_focal(40, 20, focal_px=50.0)
    depth = np.full((20, 40), 2.0, np.float32)
    pose = np.eye(4)
    pose[0, 3] = shift_px * 2.0 / camera.fx
    image = np.zeros((20, 40, 3), np.uint8)
    return RgbdFrame(image, depth, np.isfinite(depth), camera, pose)


def test_an_error_that_sticks_to_the_surface_does_not_change(benchmark):
    error_change = benchmark("clips").error_change
    error = torch.randn(20, 60, generator=torch.Generator().manual_seed(0))
    frames = (wall(), wall(3))
    assert error_change((error[:, :40], error[:, 3:43]), frames) == 0
    assert error_change((error[:, :40], error[:, 3:43] + 0.25), frames) == pytest.approx(0.25)
    # One that sticks to the image is another of each point: E|a - b| = 2 / sqrt(pi).
    stuck = error_change((error[:, :40], error[:, :40]), frames)
    assert stuck == pytest.approx(2 / np.sqrt(np.pi), rel=0.15)


def test_what_went_out_of_sight_does_not_count(benchmark):
    error_change = benchmark("clips").error_change
    before, after = wall(), wall()
    after.depth[:, 10:] = 1.0  # Something came before the wall.
    errors = torch.zeros(20, 40), torch.zeros(20, 40)
    errors[1][:, 10:] = 5.0
    assert error_change(errors, (before, after)) == 0


def test_too_few_frames_are_refused(benchmark):
    with pytest.raises(ValueError, match="--moving-frames must be > 8, got 8"):
        benchmark("warm_start").main(["--moving-frames", "8"])
