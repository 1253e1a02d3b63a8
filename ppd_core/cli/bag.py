"""`ppd bag`: depth for a recording."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ppd_core.cli.bag_options import (
    KEEP_NONE,
    add_parser,
    chosen_of,
    given_of,
    kept_of,
    settings_of,
)
from ppd_core.cli.camera_options import camera_of
from ppd_core.cli.model_options import check_effort, load_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from ppd_core.bag.reader import BagReader
    from ppd_core.bag.run import Plan, Run
    from ppd_core.pipeline import DepthPipeline

__all__ = ["add_parser", "run"]

INTERRUPTED = 130


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed; the exit status is as the help has it."""
    from ppd_core.bag.reader import BagReader
    from ppd_core.weights import WeightsError

    try:
        check_effort(args)
        with BagReader(args.input) as reader:
            return _run(args, reader)
    except (ValueError, ImportError, OSError, WeightsError) as error:
        _say(str(error))
        return 2
    # How torch says that memory, the CPU's or the GPU's, ran out.
    except (RuntimeError, MemoryError) as error:
        _say(f"{error or type(error).__name__}; the same command goes on at the last checkpoint")
        return 2


def _run(args: argparse.Namespace, reader: BagReader) -> int:
    from tqdm import tqdm

    from ppd_core.bag.run import Plan, Run, Watch
    from ppd_core.bag.writer import BagWriter
    from ppd_core.stop_signals import StopSignals

    _check_apart(reader, args.output)
    chosen = chosen_of(args, reader)
    pipeline = load_pipeline(args)
    settings = settings_of(args, chosen, pipeline)
    plan = Plan(
        reader,
        chosen,
        settings,
        args.output,
        kept_of(args, reader, settings),
        args.storage,
        args.compression,
        camera_of(args),
        given_of(args),
    )
    _tell(args, plan, pipeline)
    # Only now: nothing is to be lost to a word that was mistyped.
    if args.overwrite:
        _discard(args.output)
    total = reader.topics[chosen.image].count
    # Of unknown lengths tqdm tells the rate alone.
    with tqdm(total=total, unit="img", desc="bag", smoothing=0.05) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        # Before and after it Ctrl-C ends the program at once: nothing is written then.
        signals = StopSignals()
        run = Run(plan, pipeline, Watch(_say, advance, lambda: bool(signals.received)))
        earlier = BagWriter.resumed(args.output)
        if earlier is not None:
            run.resume(earlier)
            bar.update(run.progress.frames)
            _say(f"going on after {run.progress.frames} images that are done")
        with signals:
            run()
    return _end(run)


def _check_apart(reader: BagReader, folder: Path) -> None:
    """Refuse to write where the recording itself lies."""
    for path in reader.files:
        if path.resolve().parent == folder.resolve():
            raise ValueError(f"OUT must be another folder than that of IN, got {folder} for both")


def _discard(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing that anybody else did."""
    from ppd_core.bag.writer import BagWriter

    earlier = BagWriter.resumed(folder)
    if earlier is not None and "facts" not in earlier:
        raise ValueError(f"--overwrite: {folder} holds a recording that no such run has written")
    BagWriter.discard(folder)


def _tell(args: argparse.Namespace, plan: Plan, pipeline: DepthPipeline) -> None:
    """What is about to be done, and what the user must not overlook."""
    from ppd_core.bag.topic_names import is_of_depth_camera
    from ppd_core.bag.topics import calibrations, other_sensors, read_encodings

    chosen, source = plan.chosen, plan.settings.frames.source
    if not pipeline.is_trained:
        _say(f"WARNING: model {args.model} is untrained, its depth means nothing")
    sensor = chosen.sensor(source)
    _say(f"images of {chosen.image}; metres from {source}" + (f", {sensor}" if sensor else ""))
    if source == "depth" and sensor is not None and is_of_depth_camera(sensor):
        _say(f"{sensor} is seen from the depth camera's own place: it is not registered")
    topics = plan.reader.topics
    if source == "none":
        _say("depth is RELATIVE, not in metres: --near and --far, --depth or --lidar make metres")
        others = other_sensors(topics, chosen, read_encodings(plan.reader))
        if others and args.source is None:
            _say(f"recorded, but none is known to belong to the image: {', '.join(others)}")
    unkept = set(topics) - set(plan.kept)
    renewed = sorted({plan.settings.topic(name) for name in plan.settings.outputs} & unkept)
    if renewed and args.keep != [KEEP_NONE]:
        _say(f"not copied, for they are written anew: {', '.join(renewed)}")
    if chosen.camera_info is None and plan.camera is None:
        infos = calibrations(topics)
        what = "was recorded"
        if infos:
            what = f"belongs to the image by its name (--camera-info: {', '.join(infos)})"
        _say(f"no calibration {what}: no points; --fov-deg, --focal-px or --camera gives one")


def _end(run: Run) -> int:
    """Tell what came of it; the exit status."""
    progress = run.progress
    for gap in run.gaps:
        _say(f"not read: {gap}")
    frames = run.plan.settings.frames
    sensor = run.plan.chosen.sensor(frames.source)
    for sentence in run.pairing.describe(sensor, frames.max_slop_s):
        _say(sentence)
    for problem, count in progress.no_camera.items():
        _say(f"{count} images without points: {problem}")
    for problem, count in progress.sensor_unreadable.items():
        _say(f"{count} images without metres of their own: {problem}")
    print(progress.describe())
    print(f"Written to {run.plan.folder}/{'' if run.is_complete else ', which is not complete'}")
    if not run.is_complete:
        _say("ended by a signal; the same command goes on from here")
        return INTERRUPTED
    is_whole = not (run.gaps or progress.unreadable or progress.sensor_unreadable)
    return 0 if is_whole and not run.pairing.num_sensor_unreadable else 1


def _say(message: str) -> None:
    from tqdm import tqdm

    # Through tqdm: a line of text else breaks its bar.
    tqdm.write(f"ppd bag: {' '.join(message.split())}", file=sys.stderr)
