"""What the recorder writes of its frames: pictures, an animation and clouds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.time import Time

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview, write_png
from ppd_core.image_reading import image_to_rgb
from ppd_core.types import Alignment
from ppd_ros import four_views, truth_panels
from ppd_ros.conversions import cloud_to_points, image_to_depth
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


def write_against_truth(
    frames: Sequence[Frame], folder: Path, model: str, *, is_still: bool = False
) -> dict[str, Any]:
    """Write frames/NN.png, demo.gif of them, and cloud.ply beside truth.ply of the last one.

    Args:
        frames: with the truth, at least one.
        folder: where to.
        model: what the depth is called in the pictures.
        is_still: nothing moves; the last frame's panel.png stands for frames/ and demo.gif.

    Returns:
        The errors, for the summary: means over the frames that have metres, None without any.
    """
    compared = [compare_to_truth(frame) for frame in frames]
    last = compared[-1]
    if is_still:
        write_png(folder / "panel.png", truth_panels.draw_panel(last, model))
    else:
        _write_animation(
            frames, [truth_panels.draw_panel(each, model) for each in compared], folder
        )
    for name, depth in (("cloud", last.depth), ("truth", last.truth)):
        write_ply(folder / f"{name}.ply", last.points_of(depth), last.image)
    errors = [each.errors for each in compared if not math.isnan(each.errors.abs_rel)]
    return {
        "absrel": _mean(each.abs_rel for each in errors),
        "rmse_m": _mean(each.rmse_m for each in errors),
        "delta1": _mean(each.delta1 for each in errors),
        "frames": len(compared),
        "frames_without_metres": len(compared) - len(errors),
    }


def write_views(
    frame: Frame,
    folder: Path,
    estimate: Callable[[np.ndarray], DepthResult],
    constant: Alignment,
    model: str,
) -> dict[str, Any]:
    """Write alignment.png: one frame brought to metres in four ways; see `four_views`.

    Args:
        frame: with the truth and the sensor.
        folder: where to.
        estimate: makes the relative depth again, like `DepthPipeline`: topics carry metres.
        constant: of the view that nothing measured.
        model: what the depth is called in the picture.

    Returns:
        The figures, for the summary; `node_difference` is how far the depth that the node sent
        is from the local alignment made here, as a part of it (median).
    """
    compared = compare_to_truth(frame)
    sensor_depth = image_to_depth(frame.messages["sensor"])
    views = four_views.make_views(compared, sensor_depth, estimate, constant, model=model)
    write_png(folder / "alignment.png", four_views.draw_views(compared, views))
    return {
        "views": [four_views.view_row(view) for view in views],
        "node_difference": four_views.difference(compared.depth, views[-1].depth),
    }


def compare_to_truth(frame: Frame) -> truth_panels.Comparison:
    """The node's depth of a frame beside the truth."""
    info = frame.messages["depth_info"]
    return truth_panels.compare(
        image_to_rgb(frame.messages["image"]),
        image_to_depth(frame.messages["truth"]),
        image_to_depth(frame.messages["depth"]),
        intrinsics_from_info(info, info.width, info.height),
    )


def _write_animation(frames: Sequence[Frame], panels: Sequence[np.ndarray], folder: Path) -> None:
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


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return round(float(np.mean(values)), 4) if values else None
