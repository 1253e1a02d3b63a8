"""What `ppd view` costs, and what it bears: `python benchmarks/view.py --json FILE`.

1. A frame of 640 x 480, the simulated table with its exact depth, the camera's place, an alignment
   and a cloud of 76,800 points, into a file: `frame_ms` is how long the source waits for it
   (median), `frame_cpu_ms` the time of all threads, `frame_megabytes` what the file grows by.
   `sensor_frame_...` are of frames with the sensor's depth, too.
2. `--flood` depth images, sent at once to a viewer that keeps 100 MiB: resident memory of the
   viewer when all were sent, and of this process before them and at most.

Linux alone tells of memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ppd_core.bench.report import print_figures, write_report
from ppd_core.sim.recording import RecordingConfig, simulated_frames
from ppd_core.view.frame import ShownAlignment, ViewFrame
from ppd_core.view.scene import Scene
from ppd_core.view.sinks import Sinks, SinkSettings

WIDTH, HEIGHT = 640, 480
BEGIN_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
MAX_POINTS = 100_000
KEPT = "100MiB"
PORT = 19_090


def main(args: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60, help="into a file (60)")
    parser.add_argument("--flood", type=int, default=1500, help="depth images to a viewer (1500)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(args)
    figures = _flood(options.flood)  # First: nothing else is in memory yet.
    frames = _frames(options.frames)
    figures |= _cost([replace(frame, sensor_depth=None) for frame in frames], "")
    figures |= _cost(frames, "sensor_")
    print_figures(figures)
    if options.json:
        write_report(options.json, figures)


def _frames(count: int) -> list[ViewFrame]:
    seconds = count / RecordingConfig.rate_hz
    config = RecordingConfig(width=WIDTH, height=HEIGHT, seconds=seconds)
    return [
        ViewFrame(
            index,
            BEGIN_NS + index * PERIOD_NS,
            seen.image,
            seen.depth,
            sensor_depth=sensed,
            intrinsics=seen.intrinsics,
            world_from_camera=seen.camera_to_world,
            alignment=ShownAlignment("fitted", "depth", 1.5, 0.25, 0.9, 0.02),
            latencies_ms={"sample": 12.5},
        )
        for index, (seen, sensed) in enumerate(simulated_frames(config))
    ]


def _cost(frames: Sequence[ViewFrame], prefix: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shown.rrd")
        with Sinks(SinkSettings(has_viewer=False, save=path)) as sinks:
            scene = Scene(sinks.recording, max_points=MAX_POINTS)
            scene.log(frames[0])  # What is made once: the layout, the rays.
            sinks.flush()
            begin_bytes, begin_s = path.stat().st_size, time.process_time()
            waits_s = [_waited_s(scene, frame) for frame in frames[1:]]
            sinks.flush()
            took_s, grown = time.process_time() - begin_s, path.stat().st_size - begin_bytes
    return {
        f"{prefix}frame_ms": 1e3 * float(np.median(waits_s)),
        f"{prefix}frame_cpu_ms": 1e3 * took_s / len(waits_s),
        f"{prefix}frame_megabytes": grown / 1e6 / len(waits_s),
    }


def _waited_s(scene: Scene, frame: ViewFrame) -> float:
    begin_s = time.perf_counter()
    scene.log(frame)
    return time.perf_counter() - begin_s


def _flood(count: int) -> dict[str, float]:
    depth = np.random.default_rng(0).uniform(0.5, 3, (HEIGHT, WIDTH)).astype(np.float32)
    with Sinks(SinkSettings(is_web=True, memory=KEPT, port=PORT)) as sinks:
        scene = Scene(sinks.recording, max_points=MAX_POINTS)
        scene.log(ViewFrame(0, depth=depth))
        before_mb = _memory_mb("self", "VmRSS")
        for index in range(1, count):
            scene.log(ViewFrame(index, depth=depth))
        sinks.flush()
        return {
            "flood_megabytes": count * depth.nbytes / 1e6,
            "flood_viewer_megabytes": _memory_mb(sinks.viewer_pid, "VmRSS"),
            "flood_own_before_megabytes": before_mb,
            "flood_own_megabytes": _memory_mb("self", "VmHWM"),
        }


def _memory_mb(process: int | str | None, key: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
