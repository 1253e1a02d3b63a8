"""`ppd depth`: depth images, point clouds and films of photos and videos."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.cli.camera_options import add_camera_options, add_range_options, camera_of
from ppd_core.cli.estimates import SOURCES, begin, check_source, evidence_of
from ppd_core.cli.inputs import Input, find_inputs
from ppd_core.cli.model_options import add_model_options, check_effort, load_pipeline

if TYPE_CHECKING:
    from ppd_core.cli.batch import Batch
    from ppd_core.steady import SteadyDepth

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

IMAGE_ENDINGS = {
    "preview": "_depth.png",
    "npy": "_depth.npy",
    "png16": "_depth16.png",
    "ply": "_cloud.ply",
    "view": "_view.png",
}
"""What can be written of a photo, or of a video's frame -> how its file name ends."""
FILM_ENDINGS = {"mp4": "_depth.mp4", "side": "_side.mp4"}
"""What can be written of a video as a whole -> how its file name ends."""
ENDINGS = IMAGE_ENDINGS | FILM_ENDINGS
NEEDS_CAMERA = ("ply", "view")

_EPILOG = """\
what is written, for the inputs cat.jpg and clip.mov:
  preview  cat_depth.png     colours for the eye: near is warm, far is cold, invalid is black
  npy      cat_depth.npy     float32 (H, W): metres with --near and --far or --source, else
                             relative depth (no unit, small = near); NaN = invalid
  png16    cat_depth16.png   16-bit: millimetres, or relative depth stretched over 1 .. 65535
                             (scale and offset are in the file's text fields); 0 = invalid
  ply      cat_cloud.ply     coloured point cloud, x right, y down, z forward
  view     cat_view.png      the cloud rendered from the side
  mp4      clip_depth.mp4    of a video: the colours as H.264, at the video's times, with its sound
  side     clip_side.mp4     the same beside the video's own pictures

  Folders are searched with their sub-folders, which OUT mirrors; files that end like a result
  are left out, and what else is passed over is named. Frames of clip.mov become
  clip/000000_depth.png and so on, counted from 0. HEIC needs pip install pillow-heif.
  Inputs that would share a name get their suffix back: cat_jpg_depth.png, cat_png_depth.png.
  The frames of a video are tied to each other, so that depth at rest flickers
  less: docs/video.md.

exit status: 0 all done, 1 an input failed, 2 wrong usage or nothing could run, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `depth` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "depth",
        help="depth images, point clouds and films of photos and videos",
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
        help=f"any of {', '.join(ENDINGS)} (default: of photos preview npy, and ply if the camera "
        "is known; of videos mp4)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make results anew that are there; else such inputs are skipped",
    )
    _add_video_options(parser.add_argument_group("videos"))
    add_model_options(parser.add_argument_group("model"))
    camera = parser.add_argument_group("camera and scale")
    add_camera_options(camera)
    add_range_options(camera)
    camera.add_argument(
        "--source",
        choices=SOURCES,
        help="of the metres: constant (--near and --far, its default), or moge2, which is for "
        "models with MoGe-2's prompt (default: none, depth is relative)",
    )


def _add_video_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="take every Nth frame (default: %(default)s)",
    )
    group.add_argument(
        "--no-track",
        action="store_true",
        help="take each frame alone, and do not tie its depth to that of the frames before",
    )
    group.add_argument(
        "--warm-start",
        action="store_true",
        help="begin most frames from the depth of the one before, with half the steps; nano gets "
        "worse by it: try --profile fast or --steps first",
    )
    group.add_argument("--no-audio", action="store_true", help="films without the video's sound")


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 all done, 1 an input failed, 2 nothing could run; each reason is a line
        on stderr.
    """
    from ppd_core.cli.batch import run_batch
    from ppd_core.stop_signals import tidy_sigterm
    from ppd_core.weights import WeightsError

    inputs, problems, passed_over = find_inputs(args.inputs, tuple(ENDINGS.values()))
    for sentence in (*problems, *passed_over):
        _say(sentence)
    try:
        inputs = _with_results(args, inputs)
        evidence = evidence_of(args)
        batch = _batch(args)
        pipeline = load_pipeline(args)
        check_source(args, pipeline)
    except (ValueError, WeightsError) as error:
        _say(str(error))
        return 2
    if not pipeline.is_trained:
        _say(f"WARNING: model {args.model} is untrained, its depth means nothing")
    if evidence is None:
        _say("depth is relative, without a unit; --near and --far make metres of it")

    def begin_one(one: Input) -> SteadyDepth:
        return begin(args, pipeline, evidence, is_video=one.is_video)

    with tidy_sigterm():
        failures = len(problems) + run_batch(batch, inputs, begin_one)
    return 1 if failures else 0


def _say(message: str) -> None:
    print(f"ppd depth: {' '.join(message.split())}", file=sys.stderr)


def _with_results(args: argparse.Namespace, inputs: list[Input]) -> list[Input]:
    """The inputs of which anything is to be written."""
    from ppd_core.pyav import import_av

    if not inputs:
        raise ValueError("no input found")
    if args.write and not set(args.write) & set(IMAGE_ENDINGS):
        videos = [one for one in inputs if one.is_video]
        if not videos:
            raise ValueError(f"--write {' '.join(args.write)} needs a video, got photos alone")
        if len(videos) < len(inputs):
            left_out = f"{len(inputs) - len(videos)} of {len(inputs)} inputs are left out"
            _say(f"--write {' '.join(args.write)} is for videos: {left_out}")
        inputs = videos
    if all(one.is_video for one in inputs):
        import_av()  # What is missing shows now, not after a model was loaded.
    return inputs


def _batch(args: argparse.Namespace) -> Batch:
    """Check all that could fail for every input alike, the output folder last."""
    from ppd_core.cli.batch import Batch

    if args.every < 1:
        raise ValueError(f"--every must be >= 1, got {args.every}")
    check_effort(args)
    camera = camera_of(args)
    kinds = args.write or []
    blind = [kind for kind in kinds if kind in NEEDS_CAMERA and camera is None]
    if blind:
        raise ValueError(f"--write {' '.join(blind)} needs --focal-px, --fov-deg or --camera")
    _make_writable(args.output)
    photos = frames = {kind: IMAGE_ENDINGS[kind] for kind in kinds if kind in IMAGE_ENDINGS}
    films = {kind: FILM_ENDINGS[kind] for kind in kinds if kind in FILM_ENDINGS}
    if not kinds:
        usual = ["preview", "npy", *(["ply"] if camera else [])]
        photos = {kind: IMAGE_ENDINGS[kind] for kind in usual}
        films = {"mp4": FILM_ENDINGS["mp4"]}
    return Batch(
        args.output,
        photos,
        frames,
        films,
        camera,
        args.every,
        has_audio=not args.no_audio,
        is_overwriting=args.overwrite,
    )


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to folder {folder}: {error.strerror}") from error
