"""Draw docs/images/flying_pixels.png: `python docs/images/flying_pixels.py`.

A scene of exact shapes is seen by a small depth image, which is brought to camera size twice:
bilinearly, and by `upsample_depth`. Both clouds are drawn from the side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ppd_core import Intrinsics, alignment_from_range
from ppd_core.alignment.affine import to_metric_depth
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.image_files import depth_preview, write_png

CAMERA = Intrinsics.from_fov(960, 720, 62)
SMALL = (180, 240)
METRES = alignment_from_range(0.8, 6.0)
LIGHT = np.array([-0.45, -0.8, -0.4]) / np.linalg.norm([-0.45, -0.8, -0.4])
SPHERES = [((-0.55, 0.32, 1.9), 0.38, (214, 76, 58)), ((0.95, 0.45, 2.9), 0.25, (240, 190, 70))]
BOXES = [
    ((0.05, 0.0, 1.75), (0.45, 0.7, 2.15), (66, 120, 190)),
    ((-1.5, -0.3, 2.9), (-0.9, 0.7, 3.5), (90, 160, 110)),
    ((0.62, -0.75, 2.05), (0.66, 0.7, 2.09), (235, 235, 230)),
]


def cast(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) in metres and colours (H, W, 3) uint8 of the scene along (H, W, 3) rays."""
    depth = np.full(rays.shape[:2], np.inf)
    normal = np.zeros_like(rays)
    color = np.zeros_like(rays)

    def put(z, normals, colors):
        nearer = (z > 0) & (z < depth)
        depth[nearer] = z[nearer]
        normal[nearer] = np.broadcast_to(normals, rays.shape)[nearer]
        color[nearer] = np.broadcast_to(colors, rays.shape)[nearer]

    put(np.full(depth.shape, 4.2), (0, 0, -1), (196, 190, 182))  # wall
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(rays[..., 1] > 0, 0.7 / rays[..., 1], np.inf)
        point = floor[..., None] * rays
        tiles = (np.floor(point[..., 0] / 0.35) + np.floor(point[..., 2] / 0.35)) % 2
        put(floor, (0, -1, 0), np.where(tiles[..., None] > 0, (150, 118, 92), (126, 96, 74)))
        for center, radius, rgb in SPHERES:
            a, b = (rays**2).sum(-1), rays @ np.array(center)
            root = b**2 - a * (np.dot(center, center) - radius**2)
            z = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
            put(z, (z[..., None] * rays - center) / radius, rgb)
        for low, high, rgb in BOXES:
            near, far = np.sort(np.stack([np.divide(low, rays), np.divide(high, rays)]), axis=0)
            z, axis = near.max(-1), near.argmax(-1)
            z = np.where(z < far.min(-1), z, np.inf)
            put(z, -np.sign(rays) * np.eye(3)[axis], rgb)
    shade = 0.45 + 0.55 * np.clip((normal * LIGHT).sum(-1), 0, 1)
    return depth, (color * shade[..., None]).clip(0, 255).astype(np.uint8)


def cloud_from_the_side(relative: torch.Tensor, colors: np.ndarray) -> np.ndarray:
    """The picture of the cloud that this relative depth gives."""
    points = backproject(to_metric_depth(relative, METRES), ray_table(CAMERA))
    return render_cloud(points, colors, width=960, height=720, yaw_deg=38, pitch_deg=14)


def main() -> None:
    """Make the picture."""
    _, colors = cast(ray_table(CAMERA).double().numpy())
    small_camera = CAMERA.resized(SMALL[1], SMALL[0])
    depth, _ = cast(ray_table(small_camera).double().numpy())
    relative = (torch.from_numpy(depth).float().log1p() - METRES.shift) / METRES.scale
    bilinear = F.interpolate(relative[None, None], (720, 960), mode="bilinear")[0, 0]
    ours = upsample_depth(relative, 720, 960)
    rows = [
        np.concatenate([colors, depth_preview(ours)], axis=1),
        np.concatenate([cloud_from_the_side(d, colors) for d in (bilinear, ours)], axis=1),
    ]
    write_png(Path(__file__).with_suffix(".png"), np.concatenate(rows)[::2, ::2])


if __name__ == "__main__":
    main()
