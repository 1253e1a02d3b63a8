"""What the node costs beside its networks: `python benchmarks/node.py --json FILE`.

The node of `ppd_ros.depth_node` runs as in production, in a process of its own, between a camera
and a subscriber to all its outputs, which are processes, too. Its pipeline is the real one but
for the networks: in their place stands a recorded depth of model size that takes a given time.

* "Work" is what the node spends on a frame outside the networks. In the executor's thread:
  rclpy's take of the image (copy out of the middleware, deserialization) and the callback; in the
  worker's: from the mailbox to the return of the last publish, less the time that stands for the
  networks. So all of convert, preprocess, upsample, align, back-project, build and publish is in
  it. What is not: what the middleware's own threads do beside, and the wait in the mailbox while
  the worker is busy with the frame before.
* `publish_age_excess_ms` is how much older than the networks' time, one period of the camera and
  the 95th percentile of the work an output ever is when its publish returns. The way from the
  camera to the node, which the middleware alone decides, is not part of that sum: so it stands
  beside as `image_age_p95_ms`, and the excess from the image's arrival on, too.
* Images and clouds are far larger than the half megabyte of shared memory that Fast DDS sends from
  unless told otherwise, and lose parts on the way. `..._large_segment` is with `SEGMENT_MB`.
* A callback lasts from rclpy's call of it to its return; the take before it is reported apart.
* `end_to_end` is from the camera's stamp to the subscriber's callback of the frame's last output.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from node_measured import Times, growth_of, times_of
from node_run import Scenario, run
from node_topics import DEFAULT_OUTPUTS, OUTPUTS
from results_table import markdown_table, replace_between_markers

from ppd_core.bench.report import command, hardware, print_figures, write_report

SIZES = ((1024, 768), (640, 480))
RATE_HZ = 30.0
NETWORK_MS = 200.0
WARM_UP = 20
SEGMENT_MB = 32
"""Room for all outputs of a frame."""
SOAK = Scenario(
    width=160,
    height=120,
    rate_hz=100.0,
    network_s=0.0,
    frames=10_000,
    warm_up=500,
    processing_area=160 * 112,
    is_timing=False,
)
"""Small images, faster than the node works."""

BY_SEGMENT = {
    "publish_age_excess_ms": ("ms that the oldest output is older than it should be", "0"),
    "end_to_end_p50_ms_1024x768": ("ms from stamp to subscriber, 1024 x 768, median", ""),
    "delivered_share": ("messages that arrived, 1024 x 768", "1"),
    "received_share": ("images that came to the node, 1024 x 768", "1"),
}
"""Figures that the middleware has the larger part in; as `WANTED`."""
WANTED = {
    "p50_ms_1024x768": ("ms of work a frame, 1024 x 768, median", "15 on 4 cores"),
    "p95_ms_1024x768": ("the same, 95th percentile", "25 on 4 cores"),
    "p50_ms_640x480": ("ms of work a frame, 640 x 480, median", "6 on 4 cores"),
    "p95_ms_640x480": ("the same, 95th percentile", "10 on 4 cores"),
    "p50_ms_relative_1024x768": ("ms of work a frame without metres, 1024 x 768, median", ""),
    "publish_age_excess_ms": BY_SEGMENT["publish_age_excess_ms"],
    "publish_age_excess_p95_ms": ("the same, 95th percentile of the frames", "0"),
    "publish_age_excess_from_arrival_ms": ("the oldest, without its image's way to the node", "0"),
    "image_age_p95_ms": ("ms from an image's stamp to the node's callback, 95th percentile", ""),
    "not_newest_frames": ("frames worked on while a newer one lay there", "0"),
    "callback_max_ms": ("ms of the longest callback", "5"),
    "take_p95_ms": ("ms of rclpy's take of an image, 95th percentile", ""),
    "publish_points_p50_ms": ("ms of the publish of a cloud of 12.6 MB, median", ""),
    "end_to_end_p50_ms_1024x768": BY_SEGMENT["end_to_end_p50_ms_1024x768"],
    "end_to_end_p50_ms_640x480": ("ms from stamp to subscriber, 640 x 480, median", ""),
    "delivered_share": BY_SEGMENT["delivered_share"],
    "received_share": BY_SEGMENT["received_share"],
    **{
        f"{name}_large_segment": (f"{title}; {SEGMENT_MB} MB of shared memory", wanted)
        for name, (title, wanted) in BY_SEGMENT.items()
    },
    "rss_growth_mb_10000_frames": ("MB of memory more after 10,000 frames", ""),
    "threads_growth_10000_frames": ("threads more", "0"),
    "descriptors_growth_10000_frames": ("file descriptors more", "0"),
}
"""Figure -> what the table calls it, and at most how much (or just how much) it should be."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    timed = {scenario.size: scenario for scenario in _timed_scenarios(args)}
    times = {size: times_of(run(scenario)) for size, scenario in timed.items()}
    large, _ = timed
    beside = replace(timed[large], frames=max(args.frames // 3, 1))
    relative = times_of(run(replace(beside, source="none")))
    roomy = times_of(run(replace(beside, segment_mb=SEGMENT_MB)))
    soak = replace(SOAK, frames=args.soak_frames, warm_up=args.soak_warm_up, device=args.device)
    figures = timing_figures(times, timed[large])
    figures["p50_ms_relative_1024x768"] = _percentile(relative.work, 50)
    roomy_figures = timing_figures({large: roomy}, timed[large])
    figures |= {f"{name}_large_segment": roomy_figures[name] for name in BY_SEGMENT}
    figures |= {f"{name}_10000_frames": more for name, more in growth_of(run(soak)).items()}
    figures |= {"frames": args.frames, "soak_frames": args.soak_frames, "network_ms": args.network}
    print_figures(figures)
    for size, one in times.items():
        print(f"\n{size}\n{stage_table(one)}")
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "node", _page(figures, times))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="timed, of each size")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, metavar="N", help="before them")
    parser.add_argument("--soak-frames", type=int, default=SOAK.frames, metavar="N")
    parser.add_argument("--soak-warm-up", type=int, default=SOAK.warm_up, metavar="N")
    parser.add_argument(
        "--network", type=float, default=NETWORK_MS, metavar="MS", help="time of the networks"
    )
    parser.add_argument("--rate", type=float, default=RATE_HZ, metavar="HZ", help="of the camera")
    parser.add_argument("--device", default="cpu", help="of all but the networks (default: cpu)")
    parser.add_argument(
        "--outputs",
        nargs="+",
        default=DEFAULT_OUTPUTS,
        choices=tuple(OUTPUTS),
        metavar="TOPIC",
        help=f"to subscribe to (default: {' '.join(DEFAULT_OUTPUTS)})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="page whose table is filled in"
    )
    return parser.parse_args(argv)


def _timed_scenarios(args: argparse.Namespace) -> list[Scenario]:
    return [
        Scenario(
            width=width,
            height=height,
            rate_hz=args.rate,
            network_s=args.network / 1e3,
            frames=args.frames,
            warm_up=args.warm_up,
            outputs=tuple(args.outputs),
            device=args.device,
        )
        for width, height in SIZES
    ]


def timing_figures(times: dict[str, Times], scenario: Scenario) -> dict[str, float]:
    """The figures of the runs of each size; `scenario` is that of the large one."""
    figures: dict[str, float] = {}
    for size, one in times.items():
        for percent in (50, 95):
            figures[f"p{percent}_ms_{size}"] = _percentile(one.work, percent)
            figures[f"end_to_end_p{percent}_ms_{size}"] = _percentile(one.end_to_end, percent)
    large = times[scenario.size]
    work_p95 = figures[f"p95_ms_{scenario.size}"]
    excess = large.oldest - (1e3 * scenario.network_s + 1e3 / scenario.rate_hz + work_p95)
    return {
        **figures,
        "publish_age_excess_ms": float(excess.max()),
        "publish_age_excess_p95_ms": _percentile(excess, 95),
        "publish_age_excess_from_arrival_ms": float((excess - large.arrived).max()),
        "image_age_p95_ms": _percentile(large.arrived, 95),
        "not_newest_frames": large.not_newest,
        "callback_max_ms": float(large.callbacks.max()),
        "take_p95_ms": _percentile(large.takes, 95),
        "publish_points_p50_ms": _percentile(large.stages["publish /ppd/points"], 50),
        "delivered_share": large.delivered_share,
        "received_share": large.received_share,
    }


def stage_table(times: Times) -> str:
    """Where the work goes."""
    stages = {**times.stages, "all": times.work}
    rows = [
        [name, f"{_percentile(values, 50):.2f}", f"{_percentile(values, 95):.2f}"]
        for name, values in stages.items()
    ]
    return markdown_table(["ms a frame", "p50", "p95"], rows)


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent))


def _page(figures: dict[str, float], times: dict[str, Times]) -> str:
    rows = [[title, f"{figures[name]:.3g}", wanted] for name, (title, wanted) in WANTED.items()]
    facts = f"`{command()}`\non {hardware()}:"
    tables = [f"{facts}\n\n{markdown_table(['', 'measured', 'wanted'], rows)}"]
    tables += [f"Where it goes, {size}:\n\n{stage_table(one)}" for size, one in times.items()]
    return "\n\n".join(tables)


if __name__ == "__main__":
    main()
