"""What the recorder writes of its frames: pictures, an animation and clouds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_reading import image_to_depth
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview, write_png
from ppd_core.types import Alignment
from ppd_ros import comparison, four_views, serialized, story
from ppd_ros.conversions import cloud_to_points
from ppd_ros.image_reading import image_to_rgb
from ppd_ros.photo_publisher import FRAME_SUFFIX

TOPICS = {
    "image": (Image, "camera/image"),
    "camera_info": (CameraInfo, "camera/camera_info"),
    "depth": (Image, "ppd/depth/image"),
    "depth_info": (CameraInfo, "ppd/depth/camera_info"),
    "points": (PointCloud2, "ppd/points"),
}
"""What a frame consists of: key -> type and topic."""
TRUTH_TOPICS = {**TOPICS, "sensor": (Image, "camera/depth_in"), "truth": (Image, "camera/truth")}


@dataclass
class Frame:
    """The messages of one stamp, and how long after it each one came.

    Attributes:
        data: key of `TRUTH_TOPICS` -> the message as it came, serialized.
        latencies_s: of the same keys.
    """

    data: dict[str, bytes] = field(default_factory=dict)
    latencies_s: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the frame shows: a photo, or the simulated camera's frame."""
        return serialized.frame_id(self.data["image"]).removesuffix(FRAME_SUFFIX)

    @property
    def stamp_ns(self) -> int:
        """Of all of its messages."""
        return serialized.stamp_ns(self.data["image"])

    def message(self, key: str) -> Any:
        """A message of the frame, decoded."""
        return deserialize_message(self.data[key], TRUTH_TOPICS[key][0])


def write_frame(frame: Frame, folder: Path) -> dict[str, Any]:
    """Write NAME.png (photo beside depth), NAME.ply and NAME_side.png (the cloud from the side).

    Returns:
        The figures of the frame, for the summary.
    """
    photo = image_to_rgb(frame.message("image"))
    depth = image_to_depth(frame.message("depth"))
    points, colors = cloud_to_points(frame.message("points"))
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
    """Write story.png and cloud.ply beside truth.ply of the last frame, demo.gif of all.

    Args:
        frames: with the truth, at least one.
        folder: where to.
        model: what the depth is called in the pictures.
        is_still: nothing moves, so there is no demo.gif.

    Returns:
        The errors, for the summary: means over the frames that have metres, None without any.
    """
    compared = [compare_to_truth(frame) for frame in frames]
    last = compared[-1]
    write_png(folder / "story.png", story.draw_story(last, model))
    if not is_still:
        _write_animation(frames, compared, folder, model)
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
    """Write alignment.png: the depth of one frame brought to metres in three ways.

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
    views = four_views.make_views(compared, estimate, constant, model=model)
    write_png(folder / "alignment.png", four_views.draw_views(compared, views))
    return {
        "views": [four_views.view_row(view) for view in views],
        "node_difference": four_views.difference(compared.depth, views[-1].depth),
    }


def compare_to_truth(frame: Frame) -> comparison.Comparison:
    """The node's depth of a frame beside the truth."""
    info = frame.message("depth_info")
    return comparison.compare(
        image_to_rgb(frame.message("image")),
        image_to_depth(frame.message("sensor")),
        image_to_depth(frame.message("depth")),
        image_to_depth(frame.message("truth")),
        intrinsics_from_info(info, info.width, info.height),
    )


def _write_animation(
    frames: Sequence[Frame], compared: Sequence[comparison.Comparison], folder: Path, model: str
) -> None:
    pace_ms = (frames[-1].stamp_ns - frames[0].stamp_ns) / 1e6 / max(len(frames) - 1, 1)
    pictures = [story.draw_story(each, model, width=story.ANIMATED_WIDTH_PX) for each in compared]
    story.write_gif(folder / "demo.gif", pictures, duration_ms=max(pace_ms, 50))


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return round(float(np.mean(values)), 4) if values else None
