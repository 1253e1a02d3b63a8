"""Short videos of simulated scenes, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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


def _with_noise(frame: RgbdFrame, rng: np.random.Generator) -> RgbdFrame:
    noisy = frame.image + rng.normal(0, NOISE_LEVELS, frame.image.shape)
    return replace(frame, image=noisy.round().clip(0, 255).astype(np.uint8))
