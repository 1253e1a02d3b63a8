"""A subscriber like any user's: collects what belongs to one stamp, and writes it to files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.atomic_file import atomic_write
from ppd_core.output_streams import escape_unknown_letters
from ppd_core.pipeline import DepthPipeline
from ppd_ros.photo_publisher import PHOTOS
from ppd_ros.process import run_node
from ppd_ros.recorded_bag import Aside, write_bag
from ppd_ros.recorded_files import (
    TOPICS,
    TRUTH_TOPICS,
    Frame,
    write_against_truth,
    write_frame,
    write_views,
)
from ppd_ros.recording_summary import summarize, table
from ppd_ros.serialized import stamp_ns
from ppd_ros.shows import BAG_FOLDER, RECORDED

MAX_KEPT = 100
"""How many frames are kept with the truth: some megabytes each."""
WAITING_STAMPS = 200
"""How many incomplete frames wait for the node, which on a slow machine is many images behind."""


class Recorder(Node):
    """Collects complete frames until it has `min_frames` of them and one of each name.

    Messages are kept as they come, and decoded when all is recorded: until then the cores are
    the model's.

    Args:
        names: what must be seen; see `Frame.name`.
        min_frames: how many complete frames the rate is measured over.
        has_truth: a complete frame has sensor and truth too, and the first `min_frames` are kept,
            `MAX_KEPT` at most.
        node_options: of `rclpy.node.Node`.

    Attributes:
        recorded: name -> its newest complete frame.
        kept: frames in the order of their coming; empty without the truth.
        aside: what was said beside the frames.
        topic_names: key of a frame's message -> where it comes from.
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
        self._num_kept = min(self._min_frames, MAX_KEPT) if has_truth else 0
        self._waiting: dict[int, Frame] = {}
        self._arrivals_s: list[float] = []
        self.num_images = 0
        self.latencies_s: dict[str, list[float]] = {topic: [] for topic in self._topics}
        self.recorded: dict[str, Frame] = {}
        self.kept: list[Frame] = []
        self.aside = Aside(self)
        self.topic_names = {}
        for key, (message_type, topic) in self._topics.items():
            self.topic_names[key] = self.resolve_topic_name(topic)
            self.create_subscription(message_type, topic, self._taker(key), 5, raw=True)

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
        def take(data: bytes) -> None:
            at_ns = stamp_ns(data)
            frame = self._waiting.setdefault(at_ns, Frame())
            frame.data[key] = data
            frame.latencies_s[key] = (self.get_clock().now().nanoseconds - at_ns) / 1e9
            self.num_images += key == "image"
            if len(frame.data) == len(self._topics):
                self._finish(self._waiting.pop(at_ns))
                # Each topic keeps its order: what is older was skipped by the node.
                for older in [other for other in self._waiting if other < at_ns]:
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


def main(args: Sequence[str] | None = None) -> int:
    """Record until every photo came or the time is up; returns the exit status."""
    args = sys.argv if args is None else ["recorder", *args]
    escape_unknown_letters()
    options = _parser().parse_args(remove_ros_args(args)[1:])
    names = [options.truth] if options.truth else options.photos
    deadline_s = time.monotonic() + options.timeout_s
    recorders: list[Recorder] = []

    def make_node(is_ending: object) -> Recorder:
        recorders.append(
            Recorder(names, min_frames=options.min_frames, has_truth=bool(options.truth))
        )
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
    print(f"{recorder.num_frames} {RECORDED}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        recording = _write_bag(recorder, options.out / BAG_FOLDER)
    except (ValueError, OSError) as error:
        print(f"the recording cannot be written: {error}", file=sys.stderr)
        return 1
    rows: list[dict[str, Any]] = []
    against_truth: dict[str, Any] = {}
    if options.truth:
        against_truth = _write_against_truth(recorder.kept, options)
    else:
        rows = [write_frame(recorder.recorded[name], options.out) for name in names]
    summary = summarize(recorder, rows, options.note, {**against_truth, **recording})
    with atomic_write(options.out / "summary.json") as file:
        file.write(json.dumps(summary, indent=2).encode())
    print(table(summary))
    return 0


def _write_bag(recorder: Recorder, folder: Path) -> dict[str, Any]:
    """Write the bag, or say why there is none; what the summary has of it."""
    frames = recorder.kept or list(recorder.recorded.values())
    try:
        count = write_bag(frames, recorder.aside, folder, recorder.topic_names)
    except ImportError as error:
        print(f"no recording: {error.name} is missing (pip install 'ppd_ros[bag]')")
        return {}
    return {"recording": {"folder": str(folder), "frames": count, "bytes": _size(folder)}}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _write_against_truth(kept: Sequence[Frame], options: argparse.Namespace) -> dict[str, Any]:
    errors = write_against_truth(kept, options.out, options.model, is_still=options.still)
    # Now, not before: loading would slow down what is measured.
    pipeline = DepthPipeline.from_pretrained(options.model, download=False)
    constant = alignment_from_range(options.near_m, options.far_m)
    views = write_views(kept[-1], options.out, pipeline, constant, options.model)
    return {"against_truth": errors, "four_views": views}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--photos", nargs="+", default=PHOTOS, metavar="NAME")
    what.add_argument(
        "--truth", metavar="NAME", help="frames of this name come with a sensor and the truth"
    )
    parser.add_argument("--still", action="store_true", help="nothing moves: no animation")
    parser.add_argument("--model", default="nano", help="as the node's, to do again what it did")
    parser.add_argument("--near-m", type=float, default=0.5, help="of the view by a constant")
    parser.add_argument("--far-m", type=float, default=10.0)
    parser.add_argument("--min-frames", type=int, default=20)
    parser.add_argument("--timeout-s", type=float, default=120.0)
    parser.add_argument("--note", default="", help="a line for the end of the summary")
    return parser


if __name__ == "__main__":
    sys.exit(main())
