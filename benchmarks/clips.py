"""Short videos of simulated scenes, with their truth, and what the benchmarks on them share."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core.sim.camera import RgbdCamera, RgbdFrame
from ppd_core.sim.motion import MotionConfig, MovingScene
from ppd_core.sim.scenes import HELD_OUT_SEEDS, draw_views

WIDTH, HEIGHT = 320, 240
RATE_HZ = 15.0
MOTION = MotionConfig(loop_s=10.0)
"""At most 12.6 degrees a second around what is seen, while objects are lifted and put back."""
NOISE_LEVELS = 4.0
"""Standard deviation of a camera's noise, in grey levels of 255."""
VIEWS = 4


@dataclass(frozen=True, eq=False)
class Clip:
    """A held-out scene.

    Attributes:
        moving: frames at `RATE_HZ` of a hand-held camera.
        static: frames that differ in the camera's noise alone.
        views: one frame each, from elsewhere in the same scene.
    """

    moving: list[RgbdFrame]
    static: list[RgbdFrame]
    views: list[RgbdFrame]


def clip_arguments(
    doc: str | None, argv: list[str] | None, *, moving_frames: int, static_frames: int
) -> argparse.Namespace:
    """The options of a benchmark of nano on clips.

    Args:
        doc: the benchmark's docstring, whose first line describes it.
        argv: the words of the command line, None = those of this process.
        moving_frames, static_frames: how many a clip has by default.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", metavar="FILE", help="default: nano")
    parser.add_argument("--scenes", type=int, default=8, metavar="N", help="default: 8")
    for option, default in (("moving", moving_frames), ("static", static_frames)):
        parser.add_argument(
            f"--{option}-frames",
            type=int,
            default=default,
            metavar="N",
            help="default: %(default)s",
        )
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="page whose tables are filled in"
    )
    return parser.parse_args(argv)


def clips(count: int, moving_frames: int, static_frames: int) -> Iterator[Clip]:
    """Those of the first held-out scenes."""
    with RgbdCamera(WIDTH, HEIGHT) as camera:
        for seed in HELD_OUT_SEEDS[:count]:
            moving = MovingScene(seed, config=MOTION)
            frames = []
            for number in range(moving_frames):
                view = moving.move_to(number / RATE_HZ)
                frames.append(camera.render(moving.scene, view))
            moving.move_to(0.0)
            views = [camera.render(moving.scene, view) for view in draw_views(moving.scene, VIEWS)]
            rng = np.random.default_rng(seed)
            static = [_with_noise(frames[0], rng) for _ in range(static_frames)]
            yield Clip(frames, static, views)


def truth(frame: RgbdFrame) -> tuple[Tensor, Tensor]:
    """Depth in metres and where it is one, (1, H, W) each."""
    return torch.from_numpy(frame.depth)[None], torch.from_numpy(frame.valid_mask)[None]


def error_change(errors: tuple[Tensor, Tensor], frames: tuple[RgbdFrame, RgbdFrame]) -> float:
    """How much the error of a surface point changes from one frame to the next.

    Each point of the first frame is looked for in the second by the known poses and the true
    depth, at the nearest pixel; it counts where it is seen there, within 1 % of its depth, so that
    what moved by itself or went out of sight does not.

    Args:
        errors: of the two frames, (H, W) each; of log(1 + z), say.
        frames: the two.

    Returns:
        The mean absolute difference.
    """
    (first, second), k = frames, frames[0].intrinsics
    height, width = first.depth.shape
    v, u = np.nonzero(first.valid_mask)
    z = first.depth[v, u].astype(np.float64)
    points = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, np.ones_like(z)])
    x, y, moved_z, _ = np.linalg.inv(second.camera_to_world) @ first.camera_to_world @ points
    is_before = moved_z > 0
    v, u, x, y, moved_z = (one[is_before] for one in (v, u, x, y, moved_z))
    to_u = np.round(k.fx * x / moved_z + k.cx).astype(int)
    to_v = np.round(k.fy * y / moved_z + k.cy).astype(int)
    is_inside = (to_u >= 0) & (to_u < width) & (to_v >= 0) & (to_v < height)
    v, u, to_v, to_u, moved_z = (one[is_inside] for one in (v, u, to_v, to_u, moved_z))
    is_seen = np.abs(second.depth[to_v, to_u] - moved_z) < 0.01 * moved_z
    before = errors[0].numpy()[v[is_seen], u[is_seen]]
    after = errors[1].numpy()[to_v[is_seen], to_u[is_seen]]
    return float(np.abs(after - before).mean())


def mean_error_change(log_depths: Iterable[Tensor], frames: Sequence[RgbdFrame]) -> float:
    """How much the error of a surface point's log(1 + z) changes, mean over neighbouring frames.

    Args:
        log_depths: (H, W) of each frame, log(1 + metres).
        frames: those, in their order; at least two.
    """
    errors = [
        log_depth - truth(frame)[0][0].log1p()
        for log_depth, frame in zip(log_depths, frames, strict=True)
    ]
    return statistics.fmean(map(error_change, pairwise(errors), pairwise(frames)))


def _with_noise(frame: RgbdFrame, rng: np.random.Generator) -> RgbdFrame:
    noisy = frame.image + rng.normal(0, NOISE_LEVELS, frame.image.shape)
    return replace(frame, image=noisy.round().clip(0, 255).astype(np.uint8))
