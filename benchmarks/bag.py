"""What `ppd bag` costs, and what it bears: `python benchmarks/bag.py --json FILE`.

1. Overhead: a recording of 640 x 480 RGB-D through nano with all default outputs, everything of
   the recording copied; `overhead` is what the run took over the time of model and alignment.
2. Memory: a recording of `--gigabytes`, the same scene over and over with stamps that go on,
   beside a second camera that is not read. `memory_first_mb` is the largest resident memory of the
   run's process in its first tenth, `memory_last_mb` in its last.
3. Damage: a stretch in the middle of a recording overwritten with zeros; how many of the images
   before and after it have their depth.

In 1 and 2 each output's stamps are compared with those of the images: `stamps_wrong`, over both,
must be 0.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from results_table import markdown_table, replace_between_markers

from ppd_core.bag import making
from ppd_core.bag.messages import stamp_ns
from ppd_core.bag.reader import BagReader
from ppd_core.bag.recorded_frame import RecordedFrameSettings
from ppd_core.bag.run import Plan, Run, Watch
from ppd_core.bag.settings import RunSettings
from ppd_core.bag.topics import choose_topics
from ppd_core.bag.writer import BagWriter
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.pipeline import DepthPipeline
from ppd_core.sim.camera import RgbdFrame
from ppd_core.sim.recording import RecordingConfig, simulated_frames
from ppd_core.threads import set_threads

WIDTH, HEIGHT = 640, 480
RENDERED = 30
"""Frames that are drawn; longer recordings go forth and back through them."""
BEGIN_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
OTHER_SHAPE = (1080, 1920, 3)
"""Of the images of the camera that is not read."""
IMAGE, OUTPUT = "/camera/image_raw", "/ppd/depth/image"
DAMAGE_BYTES = 4096
ROWS = {
    "overhead": "share on top of model and alignment, everything copied",
    "frame_ms": "ms a frame in that run",
    "memory_overhead": "share on top of them in the long run, nothing copied",
    "memory_gigabytes": "GB of the long run",
    "memory_first_mb": "resident memory, MB: largest of the run's first tenth",
    "memory_largest_mb": "largest of all",
    "memory_last_mb": "largest of the last tenth",
    "stamps_wrong": "stamps of outputs that are not their image's",
    "damage_images": "images of the damaged recording",
    "damage_images_done": "of them with depth",
    "damage_exit_status": "exit status for it",
}

Scene = Sequence[tuple[RgbdFrame, np.ndarray]]
"""Frames, and what a sensor makes of their depth."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=150, help="of the overhead (150)")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of the memory's (20)")
    parser.add_argument("--folder", type=Path, help="where there is room for three times that")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="page whose table is filled in")
    args = parser.parse_args(argv)
    set_threads()
    config = RecordingConfig(
        width=WIDTH, height=HEIGHT, seconds=RENDERED / RecordingConfig.rate_hz
    )
    scene = list(simulated_frames(config))
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        figures = _overhead(folder, scene, args.frames)
        figures |= _damage(folder, scene)
        if args.gigabytes > 0:
            long_run = _memory(folder, scene, args.gigabytes)
            figures["stamps_wrong"] += long_run.pop("stamps_wrong")
            figures |= long_run
    print_figures(figures)
    if args.json:
        write_report(args.json, figures)
    if args.markdown:
        replace_between_markers(args.markdown, "recordings", _table(figures))


def _table(figures: Mapping[str, float]) -> str:
    rows = [[title, f"{figures[name]:.4g}"] for name, title in ROWS.items() if name in figures]
    return f"`{command()}`\non {hardware()}:\n\n{markdown_table(['', 'measured'], rows)}"


def _record(folder: Path, scene: Scene, count: int, other: np.ndarray | None = None) -> Path:
    """A recording of so many frames, forth and back through the scene."""
    order = [*range(RENDERED), *range(RENDERED - 2, 0, -1)]
    with BagWriter(folder) as writer:
        for index in range(count):
            frame, sensed = scene[order[index % len(order)]]
            stamp_ns = BEGIN_NS + index * PERIOD_NS
            header, log_ns = making.make_header(stamp_ns, "camera"), stamp_ns + 1_000_000
            writer.write(
                "/camera/camera_info", log_ns, making.info_message(frame.intrinsics, header)
            )
            writer.write(IMAGE, log_ns, making.rgb_message(frame.image, header))
            sensor = making.depth_mm_message(sensed, header)
            writer.write("/camera/depth_in", log_ns + 10_000_000, sensor)
            if other is not None:
                writer.write("/other/image_raw", log_ns, making.rgb_message(other, header))
        writer.close({})
    return folder


def _run(source: Path, out: Path, *, is_copying: bool) -> Run:
    pipeline = DepthPipeline.from_pretrained("nano")
    config = pipeline.config
    pipeline.warm_up(HEIGHT, WIDTH)
    settings = RunSettings(
        RecordedFrameSettings("depth"),
        num_steps=config.sampler.num_steps,
        processing_area=config.preprocess.processing_area,
    )
    with BagReader(source) as reader:
        chosen = choose_topics(reader.topics, image=IMAGE)
        kept = tuple(reader.topics) if is_copying else ()
        run = Run(Plan(reader, chosen, settings, out, kept), pipeline, Watch())
        run()
        return run


def _stamps(folder: Path, topic: str) -> Iterator[int]:
    with BagReader(folder) as reader:
        for message in reader.messages({topic}):
            yield stamp_ns(reader.deserialize(message))


def _wrong_stamps(source: Path, out: Path) -> int:
    pairs = zip(_stamps(source, IMAGE), _stamps(out, OUTPUT), strict=True)
    return sum(one != other for one, other in pairs)


def _overhead(folder: Path, scene: Scene, count: int) -> dict[str, float]:
    source = _record(folder / "in", scene, count)
    run = _run(source, folder / "out", is_copying=True)
    figures = {
        "overhead": run.progress.overhead,
        "frame_ms": 1e3 * run.progress.total_s / count,
        "model_ms": 1e3 * run.progress.model_s / count,
        "stamps_wrong": _wrong_stamps(source, folder / "out"),
    }
    shutil.rmtree(source)
    shutil.rmtree(folder / "out")
    return figures


def _damage(folder: Path, scene: Scene) -> dict[str, float]:
    """By the command, for its exit status is a part of it."""
    source = _record(folder / "damaged", scene, RENDERED)
    (path,) = source.glob("*.mcap")
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(bytes(DAMAGE_BYTES))
    out = folder / "out"
    words = ["bag", str(source), "-o", str(out), "--model", "nano", "--keep", "none"]
    status = subprocess.run([sys.executable, "-m", "ppd_core.cli", *words], check=False).returncode
    done = list(_stamps(out, OUTPUT))
    shutil.rmtree(out)
    return {
        "damage_images": RENDERED,
        "damage_images_done": len(done),
        "damage_first_and_last_done": float(
            BEGIN_NS in done and BEGIN_NS + (RENDERED - 1) * PERIOD_NS in done
        ),
        "damage_exit_status": status,
    }


class _Sampled:
    """The resident memory of this process, once in a while, megabytes."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _Sampled:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        is_over = False
        while not is_over:  # At least once: a run may be over before it has waited.
            lines = Path("/proc/self/status").read_text().splitlines()
            resident = next(line for line in lines if line.startswith("VmRSS"))
            self.samples.append(int(resident.split()[1]) / 1024)
            is_over = self._is_over.wait(0.25)


def _memory(folder: Path, scene: Scene, gigabytes: float) -> dict[str, float]:
    other = np.random.default_rng(0).integers(0, 256, OTHER_SHAPE, np.uint8)
    frame_bytes = WIDTH * HEIGHT * 5 + other.nbytes
    count = max(RENDERED, round(gigabytes * 1e9 / frame_bytes))
    source = _record(folder / "long", scene, count, other)
    size = sum(file.stat().st_size for file in source.iterdir())
    del other
    with _Sampled() as memory:
        run = _run(source, folder / "out", is_copying=False)
    tenth = max(1, len(memory.samples) // 10)
    assert run.progress.frames == count
    return {
        "memory_gigabytes": size / 1e9,
        "memory_frames": count,
        "memory_first_mb": max(memory.samples[:tenth]),
        "memory_largest_mb": max(memory.samples),
        "memory_last_mb": max(memory.samples[-tenth:]),
        "memory_overhead": run.progress.overhead,
        "stamps_wrong": _wrong_stamps(source, folder / "out"),
    }


if __name__ == "__main__":
    main()
