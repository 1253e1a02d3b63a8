"""What the recorder writes of its frames: pictures, an animation and clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.time import Time

from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview, write_png
from ppd_ros import truth_panels
from ppd_ros.calibration import intrinsics_from_info
from ppd_ros.conversions import cloud_to_points, image_to_depth, image_to_rgb
from ppd_ros.photo_publisher import FRAME_SUFFIX


@dataclass
class Frame:
    """The messages of one stamp, and how long after it each one came."""

    messages: dict[str, Any] = field(default_factory=dict)
    latencies_s: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the frame shows: a photo, or `SIMULATED`."""
        return self.messages["image"].header.frame_id.removesuffix(FRAME_SUFFIX)


def write_frame(frame: Frame, folder: Path) -> dict[str, Any]:
    """Write NAME.png (photo beside depth), NAME.ply and NAME_side.png (the cloud from the side).

    Returns:
        The figures of the frame, for the summary.
    """
    photo = image_to_rgb(frame.messages["image"])
    depth = image_to_depth(frame.messages["depth"])
    points, colors = cloud_to_points(frame.messages["points"])
    name = frame.name
    # The logarithm, as the model sees depth: in metres all that is near would look the same.
    preview = depth_preview(np.log1p(depth))
    write_png(folder / f"{name}.png", np.hstack([photo, preview]))
    write_png(folder / f"{name}_side.png", render_cloud(points, colors))
    num_points = write_ply(folder / f"{name}.ply", points, colors)
    metres = depth[np.isfinite(depth)]
    quantiles = {
        f"depth_p{percent}_m": round(float(np.percentile(metres, percent)), 3)
        if len(metres)
        else None
        for percent in (2, 50, 98)
    }
    height, width = depth.shape
    return {"photo": name, "width": width, "height": height, "points": num_points, **quantiles}


def write_against_truth(frames: Sequence[Frame], folder: Path, model: str) -> dict[str, Any]:
    """Write frames/NN.png, demo.gif of them, and cloud.ply beside truth.ply of the last one.

    Args:
        frames: with the truth, at least one.
        folder: where to.
        model: what the depth is called in the pictures.

    Returns:
        The errors, for the summary.
    """
    compared = []
    for frame in frames:
        info = frame.messages["depth_info"]
        compared.append(
            truth_panels.compare(
                image_to_rgb(frame.messages["image"]),
                image_to_depth(frame.messages["truth"]),
                image_to_depth(frame.messages["depth"]),
                intrinsics_from_info(info, info.width, info.height),
            )
        )
    panels = [truth_panels.draw_panel(each, model) for each in compared]
    (folder / "frames").mkdir(exist_ok=True)
    for old in (folder / "frames").glob("*.png"):
        # A longer run before this one would leave its end behind. Other pictures are not ours.
        if old.stem.isdecimal():
            old.unlink()
    for number, panel in enumerate(panels):
        write_png(folder / "frames" / f"{number:02}.png", panel)
    times_s = [Time.from_msg(f.messages["image"].header.stamp).nanoseconds / 1e9 for f in frames]
    pace_s = (times_s[-1] - times_s[0]) / max(len(frames) - 1, 1)
    truth_panels.write_gif(folder / "demo.gif", panels, duration_ms=max(1e3 * pace_s, 50))
    last = compared[-1]
    for name, depth in (("cloud", last.depth), ("truth", last.truth)):
        write_ply(folder / f"{name}.ply", last.points_of(depth), last.image)
    return {
        "absrel": round(float(np.mean([each.abs_rel for each in compared])), 4),
        "delta1": round(float(np.mean([each.delta1 for each in compared])), 4),
        "frames": len(compared),
    }
