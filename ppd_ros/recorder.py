"""A subscriber like any user's: collects what belongs to one stamp, and writes it to files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.atomic_file import atomic_write
from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview, write_png
from ppd_ros.conversions import cloud_to_points, image_to_depth, image_to_rgb
from ppd_ros.photo_publisher import FRAME_SUFFIX, PHOTOS
from ppd_ros.process import run_node

TOPICS = {
    "image": (Image, "camera/image"),
    "depth": (Image, "ppd/depth/image"),
    "depth_info": (CameraInfo, "ppd/depth/camera_info"),
    "points": (PointCloud2, "ppd/points"),
}
WAITING_STAMPS = 50
"""How many incomplete frames are kept; older ones were skipped by the node, which is normal."""


@dataclass
class Frame:
    """The messages of one stamp, and how long after it each one came."""

    messages: dict[str, Any] = field(default_factory=dict)
    latencies_s: dict[str, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every topic has delivered."""
        return len(self.messages) == len(TOPICS)

    @property
    def name(self) -> str:
        """The photo that the frame shows."""
        return self.messages["image"].header.frame_id.removesuffix(FRAME_SUFFIX)


class Recorder(Node):
    """Collects complete frames until it has `min_frames` of them and one of each photo.

    Args:
        names: the photos that must come.
        min_frames: how many complete frames the rate is measured over.
        node_options: of `rclpy.node.Node`.
    """

    def __init__(self, names: Sequence[str], *, min_frames: int, **node_options: Any) -> None:
        super().__init__("recorder", **node_options)
        self._names = set(names)
        self._min_frames = min_frames
        self._waiting: dict[int, Frame] = {}
        self._arrivals_s: list[float] = []
        self.num_images = 0
        self.latencies_s: dict[str, list[float]] = {topic: [] for topic in TOPICS}
        self.recorded: dict[str, Frame] = {}
        for key, (message_type, topic) in TOPICS.items():
            self.create_subscription(message_type, topic, self._taker(key), 5)

    @property
    def num_frames(self) -> int:
        """How many complete frames came."""
        return len(self._arrivals_s)

    @property
    def rate_hz(self) -> float:
        """Complete frames a second, from the first to the last."""
        if self.num_frames < 2:
            return float("nan")
        return (self.num_frames - 1) / (self._arrivals_s[-1] - self._arrivals_s[0])

    @property
    def missing(self) -> set[str]:
        """The photos that no complete frame has shown yet."""
        return self._names - set(self.recorded)

    @property
    def is_done(self) -> bool:
        """Whether there is enough to write."""
        return self.num_frames >= self._min_frames and not self.missing

    def close(self) -> None:
        """There is nothing to end."""

    def _taker(self, key: str) -> Any:
        def take(message: Any) -> None:
            stamp = Time.from_msg(message.header.stamp)
            frame = self._waiting.setdefault(stamp.nanoseconds, Frame())
            frame.messages[key] = message
            frame.latencies_s[key] = (self.get_clock().now() - stamp).nanoseconds / 1e9
            self.num_images += key == "image"
            if frame.is_complete:
                self._finish(self._waiting.pop(stamp.nanoseconds))
            while len(self._waiting) > WAITING_STAMPS:
                del self._waiting[min(self._waiting)]

        return take

    def _finish(self, frame: Frame) -> None:
        self._arrivals_s.append(time.monotonic())
        for key, latency_s in frame.latencies_s.items():
            self.latencies_s[key].append(latency_s)
        self.recorded[frame.name] = frame


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


def summarize(recorder: Recorder, photos: Sequence[dict[str, Any]], note: str) -> dict[str, Any]:
    """What was seen on the topics, in one object; latencies go from stamp to arrival here."""
    latencies_ms = {
        topic: [round(1e3 * float(p), 1) for p in np.percentile(values, (50, 95))]
        for topic, values in recorder.latencies_s.items()
    }
    return {
        "note": note,
        "images_received": recorder.num_images,
        "frames_complete": recorder.num_frames,
        "rate_hz": round(recorder.rate_hz, 2),
        "latency_p50_p95_ms": latencies_ms,
        "photos": list(photos),
    }


def table(summary: dict[str, Any]) -> str:
    """The summary for the eye."""
    lines = [
        f"{summary['images_received']} images received, {summary['frames_complete']} frames with "
        f"depth, depth/camera_info and points: {summary['rate_hz']} frames/s",
        "latency p50/p95, stamp to arrival: "
        + ", ".join(
            f"{topic} {p50:.0f}/{p95:.0f} ms"
            for topic, (p50, p95) in summary["latency_p50_p95_ms"].items()
        ),
        f"{'photo':<16} {'size':>9} {'points':>8}  metres at 2 %, 50 %, 98 % of the pixels",
    ]
    for row in summary["photos"]:
        metres = [row[f"depth_p{percent}_m"] for percent in (2, 50, 98)]
        lines.append(
            f"{row['photo']:<16} {row['width']:>4}x{row['height']:<4} {row['points']:>8} "
            + " ".join("     nan" if value is None else f"{value:>8.2f}" for value in metres)
        )
    return "\n".join([*lines, summary["note"]])


def main(args: Sequence[str] | None = None) -> int:
    """Record until every photo came or the time is up; returns the exit status."""
    args = sys.argv if args is None else ["recorder", *args]
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", nargs="+", default=PHOTOS, metavar="NAME")
    parser.add_argument("--min-frames", type=int, default=20)
    parser.add_argument("--timeout-s", type=float, default=120.0)
    parser.add_argument("--note", default="", help="a line for the end of the summary")
    options = parser.parse_args(remove_ros_args(args)[1:])
    deadline_s = time.monotonic() + options.timeout_s
    recorders: list[Recorder] = []

    def make_node(is_ending: object) -> Recorder:
        recorders.append(Recorder(options.photos, min_frames=options.min_frames))
        return recorders[0]

    def is_done() -> bool:
        return recorders[0].is_done or time.monotonic() > deadline_s

    status = run_node(make_node, args, is_done=is_done)
    if status != 0:
        return status
    recorder = recorders[0]
    if not recorder.is_done:
        print(
            f"only {recorder.num_frames} complete frames of {options.min_frames} came in time; "
            f"photos without one: {', '.join(sorted(recorder.missing)) or 'none'}",
            file=sys.stderr,
        )
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [write_frame(recorder.recorded[name], options.out) for name in options.photos]
    summary = summarize(recorder, rows, options.note)
    with atomic_write(options.out / "summary.json") as file:
        file.write(json.dumps(summary, indent=2).encode())
    print(table(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
