"""`ppd depth`: depth images and point clouds of photos and videos."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppd_core.cli.inputs import find_inputs
from ppd_core.config import (
    BACKEND_NAMES,
    DEFAULT_PROFILE,
    PRESETS,
    PROFILES,
    PipelineConfig,
    PreprocessConfig,
    SamplerConfig,
)

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.cli.batch import Batch, Estimate
    from ppd_core.depth_result import DepthResult
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.types import Alignment, Intrinsics

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    CameraOfSize = Callable[[int, int], Intrinsics]

ENDINGS = {
    "preview": "_depth.png",
    "npy": "_depth.npy",
    "png16": "_depth16.png",
    "ply": "_cloud.ply",
    "view": "_view.png",
}
"""What can be written -> how its file name ends."""
NEEDS_CAMERA = ("ply", "view")
DTYPE_NAMES = ("float32", "bfloat16", "float16", "float8")

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
    _add_model_options(parser.add_argument_group("model"))
    _add_camera_options(parser.add_argument_group("camera and scale"))


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        default="ppd-da2",
        metavar="NAME|PATH",
        help=f"{', '.join(PRESETS)} or a checkpoint file (default: %(default)s)",
    )
    group.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="folder of the published weights; see `ppd weights list`",
    )
    group.add_argument(
        "--profile",
        choices=PROFILES,
        default=DEFAULT_PROFILE,
        help="fast: half the steps at half the area; balanced: what the model was made for; "
        f"quality: {PROFILES['quality'].num_steps} steps (default: %(default)s)",
    )
    group.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="network evaluations an image, more is finer (default: the profile's)",
    )
    group.add_argument(
        "--processing-area",
        type=int,
        metavar="PIXELS",
        help="size at which the model sees the image (default: the profile's)",
    )
    group.add_argument(
        "--warm-start",
        action="store_true",
        help="of a video, begin most frames from the depth of the one before, with half the "
        "steps; nano gets worse by it: try --profile fast or --steps first",
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)")
    group.add_argument(
        "--dtype",
        choices=DTYPE_NAMES,
        help="of the networks (default: float32 on the CPU, else half precision); "
        "float8 is most of the linear layers, the rest bfloat16: slow on a CPU",
    )
    group.add_argument(
        "--backend",
        choices=BACKEND_NAMES,
        help="how the model runs: graph compiles for each size first and is then faster, worth it "
        "for videos and many images of one size (default: eager)",
    )


def _add_camera_options(group: argparse._ArgumentGroup) -> None:
    camera = group.add_mutually_exclusive_group()
    camera.add_argument("--focal-px", type=float, metavar="F", help="focal length in pixels")
    camera.add_argument("--fov-deg", type=float, metavar="A", help="horizontal field of view")
    camera.add_argument("--camera", type=Path, metavar="YAML", help="ROS camera calibration file")
    group.add_argument(
        "--near",
        type=float,
        metavar="M",
        help="metres to relative depth 0, about the nearest thing in view",
    )
    group.add_argument(
        "--far",
        type=float,
        metavar="M",
        help="metres to relative depth 1, about the farthest thing in view",
    )


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
        alignment = _alignment(args)
        batch = _batch(args)
        pipeline = _load(args)
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
    if args.steps is not None:
        SamplerConfig(num_steps=args.steps)
    if args.processing_area is not None:
        PreprocessConfig(processing_area=args.processing_area)
    camera = _camera(args)
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

    num_steps, processing_area = _effort(args, pipeline.config)
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


def _effort(args: argparse.Namespace, config: PipelineConfig) -> tuple[int, int]:
    """Steps and area: as given outright, else as the profile has them."""
    profile = PROFILES[args.profile]
    steps, area = args.steps, args.processing_area
    return (
        profile.num_steps_of(config) if steps is None else steps,
        profile.processing_area_of(config) if area is None else area,
    )


def _camera(args: argparse.Namespace) -> CameraOfSize | None:
    """What gives the intrinsics of an image by its width and height, or None."""
    from ppd_core.geometry.camera import read_camera_yaml
    from ppd_core.types import Intrinsics

    if args.camera is not None:
        return partial(_resized, read_camera_yaml(args.camera))
    camera: CameraOfSize
    if args.focal_px is not None:
        option, camera = "--focal-px", partial(Intrinsics.from_focal, focal_px=args.focal_px)
    elif args.fov_deg is not None:
        option, camera = "--fov-deg", partial(Intrinsics.from_fov, horizontal_fov_deg=args.fov_deg)
    else:
        return None
    try:
        camera(16, 16)  # a bad value shows now, not at each image
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    return camera


def _resized(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    if abs(width * intrinsics.height - height * intrinsics.width) > max(width, height):
        raise ValueError(
            f"image must have the shape of the calibrated camera, {intrinsics.width} x "
            f"{intrinsics.height}, got {width} x {height}"
        )
    return intrinsics.resized(width, height)


def _alignment(args: argparse.Namespace) -> Alignment | None:
    from ppd_core.alignment.affine import alignment_from_range

    if (args.near is None) != (args.far is None):
        raise ValueError("--near and --far must be given together, got one of them")
    return None if args.near is None else alignment_from_range(args.near, args.far)


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to folder {folder}: {error.strerror}") from error


def _load(args: argparse.Namespace) -> DepthPipeline:
    from ppd_core.backends.package import is_package
    from ppd_core.device import DTYPES
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.threads import set_threads

    set_threads()
    return DepthPipeline.from_pretrained(
        args.model,
        device=args.device,
        dtype=DTYPES[args.dtype] if args.dtype else None,
        # Photos differ in size, and the pipeline's own choice on CUDA compiles for each.
        backend=args.backend or (None if is_package(args.model) else "eager"),
        weights_dir=args.weights_dir,
    )
