"""A subscriber like any user's: collects what belongs to one stamp, and writes it to files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.atomic_file import atomic_write
from ppd_ros.photo_publisher import FRAME_SUFFIX, PHOTOS
from ppd_ros.process import run_node
from ppd_ros.recorded_files import Frame, write_against_truth, write_frame
from ppd_ros.sim_camera_node import FRAME_ID

TOPICS = {
    "image": (Image, "camera/image"),
    "depth": (Image, "ppd/depth/image"),
    "depth_info": (CameraInfo, "ppd/depth/camera_info"),
    "points": (PointCloud2, "ppd/points"),
}
TRUTH_TOPICS = {**TOPICS, "truth": (Image, "camera/truth")}
SIMULATED = FRAME_ID.removesuffix(FRAME_SUFFIX)
"""What a frame of the simulated camera is called; see `Frame.name`."""
WAITING_STAMPS = 200
"""How many incomplete frames wait for the node, which on a slow machine is many images behind."""


class Recorder(Node):
    """Collects complete frames until it has `min_frames` of them and one of each name.

    Args:
        names: what must be seen; see `Frame.name`.
        min_frames: how many complete frames the rate is measured over.
        has_truth: a complete frame has the truth too, and the first `min_frames` are kept.
        node_options: of `rclpy.node.Node`.

    Attributes:
        recorded: name -> its newest complete frame.
        kept: frames in the order of their coming; empty without the truth.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        min_frames: int,
        has_truth: bool = False,
        **node_options: Any,
    ) -> None:
        super().__init__("recorder", **node_options)
        self._names = set(names)
        self._min_frames = max(min_frames, 1)  # Without any there is nothing to write.
        self._topics = TRUTH_TOPICS if has_truth else TOPICS
        self._num_kept = self._min_frames if has_truth else 0
        self._waiting: dict[int, Frame] = {}
        self._arrivals_s: list[float] = []
        self.num_images = 0
        self.latencies_s: dict[str, list[float]] = {topic: [] for topic in self._topics}
        self.recorded: dict[str, Frame] = {}
        self.kept: list[Frame] = []
        for key, (message_type, topic) in self._topics.items():
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
        """The names that no complete frame has shown yet."""
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
            if len(frame.messages) == len(self._topics):
                self._finish(self._waiting.pop(stamp.nanoseconds))
                # Each topic keeps its order: what is older was skipped by the node.
                for older in [key for key in self._waiting if key < stamp.nanoseconds]:
                    del self._waiting[older]
            while len(self._waiting) > WAITING_STAMPS:
                del self._waiting[min(self._waiting)]

        return take

    def _finish(self, frame: Frame) -> None:
        self._arrivals_s.append(time.monotonic())
        for key, latency_s in frame.latencies_s.items():
            self.latencies_s[key].append(latency_s)
        self.recorded[frame.name] = frame
        if len(self.kept) < self._num_kept:
            self.kept.append(frame)


def summarize(
    recorder: Recorder,
    photos: Sequence[dict[str, Any]],
    note: str,
    errors: dict[str, Any] | None = None,
) -> dict[str, Any]:
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
        **({"against_truth": errors} if errors else {}),
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
    ]
    if errors := summary.get("against_truth"):
        lines.append(
            f"against the exact depth, scale and shift fitted to each frame: AbsRel "
            f"{errors['absrel']:.4f}, delta1 {errors['delta1']:.4f} "
            f"(mean of {errors['frames']} frames)"
        )
    if summary["photos"]:
        lines.append(
            f"{'photo':<16} {'size':>9} {'points':>8}  metres at 2 %, 50 %, 98 % of pixels"
        )
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
    options = _parser().parse_args(remove_ros_args(args)[1:])
    names = [SIMULATED] if options.truth else options.photos
    deadline_s = time.monotonic() + options.timeout_s
    recorders: list[Recorder] = []

    def make_node(is_ending: object) -> Recorder:
        recorders.append(Recorder(names, min_frames=options.min_frames, has_truth=options.truth))
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
            f"names without one: {', '.join(sorted(recorder.missing)) or 'none'}",
            file=sys.stderr,
        )
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    rows, errors = [], None
    if options.truth:
        errors = write_against_truth(recorder.kept, options.out, options.model)
    else:
        rows = [write_frame(recorder.recorded[name], options.out) for name in names]
    summary = summarize(recorder, rows, options.note, errors)
    with atomic_write(options.out / "summary.json") as file:
        file.write(json.dumps(summary, indent=2).encode())
    print(table(summary))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--photos", nargs="+", default=PHOTOS, metavar="NAME")
    what.add_argument("--truth", action="store_true", help="compare with the simulated camera's")
    parser.add_argument("--model", default="depth", help="what the pictures call the depth")
    parser.add_argument("--min-frames", type=int, default=20)
    parser.add_argument("--timeout-s", type=float, default=120.0)
    parser.add_argument("--note", default="", help="a line for the end of the summary")
    return parser


if __name__ == "__main__":
    sys.exit(main())
