"""`ppd depth`: depth images and point clouds of photos and videos."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppd_core.cli.camera_options import (
    add_camera_options,
    add_range_options,
    alignment_of,
    camera_of,
)
from ppd_core.cli.inputs import find_inputs
from ppd_core.cli.model_options import add_model_options, check_effort, effort, load_pipeline

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.cli.batch import Batch, Estimate
    from ppd_core.depth_result import DepthResult
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.types import Alignment, Intrinsics

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

ENDINGS = {
    "preview": "_depth.png",
    "npy": "_depth.npy",
    "png16": "_depth16.png",
    "ply": "_cloud.ply",
    "view": "_view.png",
}
"""What can be written -> how its file name ends."""
NEEDS_CAMERA = ("ply", "view")

_EPILOG = """\
what is written, for the input cat.jpg:
  preview  cat_depth.png     colours for the eye: near is warm, far is cold, invalid is black
  npy      cat_depth.npy     float32 (H, W): metres with --near and --far, else relative depth
                             (no unit, small = near); NaN = invalid
  png16    cat_depth16.png   16-bit: millimetres, or relative depth stretched over 1 .. 65535
                             (scale and offset are in the file's text fields); 0 = invalid
  ply      cat_cloud.ply     coloured point cloud, x right, y down, z forward
  view     cat_view.png      the cloud rendered from the side

  Folders are searched with their sub-folders, which OUT mirrors; files that end like a result
  are left out. Frames of clip.mp4 become clip/000000_depth.png and so on, counted from 0.
  Inputs that would share a name get their suffix back: cat_jpg_depth.png, cat_png_depth.png.

exit status: 0 all done, 1 an input failed, 2 wrong usage or nothing could run, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `depth` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "depth",
        help="depth images and point clouds of photos and videos",
        description="Estimate the depth of images and videos.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, video or folder")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder")
    parser.add_argument(
        "--write",
        nargs="+",
        choices=ENDINGS,
        metavar="WHAT",
        help=f"any of {', '.join(ENDINGS)} (default: preview npy, and ply if the camera is known)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make results anew that are there; else such inputs are skipped",
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="of a video, take every Nth frame (default: %(default)s)",
    )
    model = parser.add_argument_group("model")
    add_model_options(model)
    model.add_argument(
        "--warm-start",
        action="store_true",
        help="of a video, begin most frames from the depth of the one before, with half the "
        "steps; nano gets worse by it: try --profile fast or --steps first",
    )
    camera = parser.add_argument_group("camera and scale")
    add_camera_options(camera)
    add_range_options(camera)


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 all done, 1 an input failed, 2 nothing could run; each reason is a line
        on stderr.
    """
    # Before cv2 is imported: a bad video is reported in one line, ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from ppd_core.cli.batch import run_batch
    from ppd_core.weights import WeightsError

    inputs, problems = find_inputs(args.inputs, tuple(ENDINGS.values()))
    for problem in problems:
        _say(problem)
    try:
        if not inputs:
            raise ValueError("no input found")
        alignment = alignment_of(args)
        batch = _batch(args)
        pipeline = load_pipeline(args)
    except (ValueError, WeightsError) as error:
        _say(str(error))
        return 2
    if not pipeline.is_trained:
        _say(f"WARNING: model {args.model} is untrained, its depth means nothing")
    if alignment is None:
        _say("depth is relative, without a unit; --near and --far make metres of it")
    begin = partial(_estimate, args, pipeline, alignment)
    failures = len(problems) + run_batch(batch, inputs, begin)
    return 1 if failures else 0


def _say(message: str) -> None:
    print(f"ppd depth: {' '.join(message.split())}", file=sys.stderr)


def _batch(args: argparse.Namespace) -> Batch:
    """Check all that could fail for every input alike, the output folder last."""
    from ppd_core.cli.batch import Batch

    if args.every < 1:
        raise ValueError(f"--every must be >= 1, got {args.every}")
    check_effort(args)
    camera = camera_of(args)
    kinds = args.write or ["preview", "npy", *(["ply"] if camera else [])]
    blind = [kind for kind in kinds if kind in NEEDS_CAMERA and camera is None]
    if blind:
        raise ValueError(f"--write {' '.join(blind)} needs --focal-px, --fov-deg or --camera")
    _make_writable(args.output)
    endings = {kind: ENDINGS[kind] for kind in kinds}
    return Batch(args.output, endings, camera, args.every, args.overwrite)


def _estimate(
    args: argparse.Namespace, pipeline: DepthPipeline, alignment: Alignment | None
) -> Estimate:
    """What estimates the frames of one input."""
    from ppd_core.stream import DepthStream

    num_steps, processing_area = effort(args, pipeline.config)
    settled: dict[str, Any] = {
        "alignment": alignment,
        "num_steps": num_steps,
        "processing_area": processing_area,
    }
    if args.warm_start:
        return partial(DepthStream(pipeline), **settled)

    def alone(image: np.ndarray, stamp_s: float, *, intrinsics: Intrinsics | None) -> DepthResult:
        return pipeline(image, intrinsics=intrinsics, **settled)

    return alone


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to folder {folder}: {error.strerror}") from error
