"""`ppd view`: image, depth, cloud and health in a viewer, while they come."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ppd_core.cli.camera_options import (
    add_camera_options,
    add_range_options,
    alignment_of,
    camera_of,
)
from ppd_core.cli.model_options import add_model_options, check_effort, effort, load_pipeline

if TYPE_CHECKING:
    from collections.abc import Generator

    from ppd_core.cli.camera_options import CameraOfSize
    from ppd_core.view.frame import ViewFrame
    from ppd_core.view.photos import Estimate
    from ppd_core.view.scene import Scene
    from ppd_core.view.sinks import Sinks, SinkSettings

    Frames = Generator[ViewFrame, None, None]
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

FOV_DEG = 60.0
"""Assumed of a camera that nobody tells of."""
MAX_POINTS = 100_000
CAMERA_PREFIX = "camera:"
TOPICS = "topics"
_LOOK_S = 0.2
_TERMINATED = 143

_EPILOG = """\
what is shown:
  photo.jpg, a folder, clip.mp4   what the model makes of them, frame after frame
  camera:0, camera:/dev/video2    this machine's camera, or a stream's URL: its newest image only
  topics                          what a running node publishes; needs ROS 2. Behind --ros-args
                                  topics are remapped: -r image:=/camera/image_raw -r __ns:=/robot1

  A file or folder called like a source is meant by ./topics.

exit status: 0 all shown, 1 an input failed, 2 wrong usage or nothing could run, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `view` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "view",
        help="image, depth and cloud in a viewer, while they come",
        description="Show images, depth, clouds and what ties them to metres, in Rerun's viewer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image, video, folder, camera:N or topics"
    )
    _add_sink_options(parser.add_argument_group("where to"))
    what = parser.add_argument_group("how much")
    what.add_argument(
        "--points",
        type=int,
        default=MAX_POINTS,
        metavar="N",
        help="of each cloud show N points at most, evenly thinned (default: %(default)s)",
    )
    what.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="of a video, show every Nth frame (default: %(default)s)",
    )
    what.add_argument("--frames", type=int, metavar="N", help="end after so many frames")
    model = parser.add_argument_group("model")
    add_model_options(model)
    # In the package and fast: who wants to look does not want to wait for 2 GB.
    model.set_defaults(model="nano")
    parser.set_defaults(model="nano")
    camera = parser.add_argument_group("camera and scale")
    add_camera_options(camera)
    add_range_options(camera)
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="ARG",
        help="for the source `topics`, as to any ROS 2 node; the last option",
    )


def _add_sink_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--web",
        action="store_true",
        help="serve a page for the browser, until Ctrl-C (default where there is no display)",
    )
    group.add_argument(
        "--save",
        type=Path,
        metavar="FILE.rrd",
        help="write a file that `rerun FILE.rrd` opens; alone, no viewer is opened",
    )
    group.add_argument(
        "--native", action="store_true", help="open a window (default where there is a display)"
    )
    group.add_argument(
        "--port",
        type=int,
        default=9090,
        metavar="N",
        help="of the page; the data come over N + 1 (default: %(default)s)",
    )
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="serve the page there; 0.0.0.0: whoever reaches this machine may look "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--memory",
        default="1GiB",
        metavar="SIZE",
        help="what the viewer keeps, 500MB, 1GiB or 25%%; then the oldest goes "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 all shown, 1 an input failed, 2 nothing could run; each reason is a line
        on stderr.
    """
    # Before cv2 is imported: a bad video is reported in one line, ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    from ppd_core.view.sinks import Sinks, ViewerMissingError
    from ppd_core.weights import WeightsError

    signal.signal(signal.SIGTERM, _end)
    problems: list[str] = []
    try:
        settings = _sink_settings(args)
        _check(args)
        frames = _frames_of(args, problems)
        with Sinks(settings) as sinks:
            status = _show(args, settings, sinks, frames, problems)
    except (ValueError, OSError, WeightsError, ViewerMissingError) as error:
        _say(str(error))
        return 2
    return status


def _end(number: int, frame: object) -> NoReturn:
    """As Ctrl-C does, so that what was served is closed, too."""
    sys.exit(_TERMINATED)


def _say(message: str) -> None:
    print(f"ppd view: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _sink_settings(args: argparse.Namespace) -> SinkSettings:
    from ppd_core.view.sinks import SinkSettings, has_display, require_viewer

    require_viewer()
    has_viewer = args.web or args.native or args.save is None
    return SinkSettings(
        is_web=args.web or not (args.native or has_display()),
        has_viewer=has_viewer,
        save=args.save,
        host=args.host,
        port=args.port,
        memory=args.memory,
    )


def _check(args: argparse.Namespace) -> None:
    for name in ("points", "every", "frames"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be >= 1, got {value}")
    if args.web and args.native:
        raise ValueError("--web and --native cannot both be, got both")
    check_effort(args)


def _frames_of(args: argparse.Namespace, problems: list[str]) -> Frames:
    """The frames that the words on the command line mean."""
    from ppd_core.view.sources import find_source, source_names

    first = args.sources[0]
    is_alone = len(args.sources) == 1
    if first in source_names() or first == TOPICS:
        if not is_alone:
            raise ValueError(f"{first} must be the only source, got {' '.join(args.sources)}")
        if first not in source_names():
            raise ValueError("live topics need the package ppd_ros and ROS 2: see docs/install.md")
        return find_source(first)(args.ros_args)
    if first.startswith(CAMERA_PREFIX):
        if not is_alone:
            raise ValueError(f"{first} must be the only source, got {' '.join(args.sources)}")
        return _camera_frames(args, first.removeprefix(CAMERA_PREFIX))
    return _photo_frames(args, problems)


def _photo_frames(args: argparse.Namespace, problems: list[str]) -> Frames:
    from ppd_core.cli.depth import ENDINGS
    from ppd_core.cli.inputs import find_inputs
    from ppd_core.view.photos import photo_frames

    def report(problem: str) -> None:
        problems.append(problem)
        _say(problem)

    inputs, missing = find_inputs(args.sources, tuple(ENDINGS.values()))
    for problem in missing:
        report(problem)
    if not inputs:
        raise ValueError("no input found")
    camera = _known_camera(args)
    return photo_frames(inputs, _estimate(args), camera, every=args.every, report=report)


def _camera_frames(args: argparse.Namespace, name: str) -> Frames:
    from ppd_core.view.webcam import NewestImage, camera_frames

    return camera_frames(NewestImage(name), _estimate(args), _known_camera(args))


def _known_camera(args: argparse.Namespace) -> CameraOfSize:
    from ppd_core.types import Intrinsics

    camera = camera_of(args)
    if camera is not None:
        return camera
    _say(
        f"the camera is not known: it is taken to see {FOV_DEG:g} degrees from side to side "
        "(--fov-deg, --focal-px or --camera say better)"
    )
    return partial(Intrinsics.from_fov, horizontal_fov_deg=FOV_DEG)


def _estimate(args: argparse.Namespace) -> Estimate:
    alignment = alignment_of(args)
    pipeline = load_pipeline(args)
    if not pipeline.is_trained:
        _say(f"WARNING: model {args.model} is untrained, its depth means nothing")
    if alignment is None:
        _say("depth is relative, without a unit; --near and --far make metres of it")
    num_steps, processing_area = effort(args, pipeline.config)
    return partial(
        pipeline, alignment=alignment, num_steps=num_steps, processing_area=processing_area
    )


def _show(
    args: argparse.Namespace,
    settings: SinkSettings,
    sinks: Sinks,
    frames: Frames,
    problems: list[str],
) -> int:
    """Show frames until they end, or nobody looks any more; the exit status."""
    from ppd_core.view.scene import Scene

    if sinks.url is not None:
        print(f"open {sinks.url}", flush=True)
    scene = Scene(sinks.recording, max_points=args.points)
    watch = _Watch(settings, scene)
    try:
        with contextlib.closing(frames):
            for frame in islice(frames, args.frames):
                if sinks.is_closed_by_user:
                    break
                _log(scene, frame, problems)
                watch.look()
    except ValueError as error:  # the source has ended before its time
        problems.append(str(error))
        _say(str(error))
    sinks.flush()
    print(f"{scene.frame_count} frames shown", flush=True)
    if settings.has_viewer and settings.is_web:
        _say("all is there; Ctrl-C ends")
        while not sinks.is_closed_by_user:
            time.sleep(_LOOK_S)
    return 1 if problems else 0


def _log(scene: Scene, frame: ViewFrame, problems: list[str]) -> None:
    try:
        scene.log(frame)
    except ValueError as error:
        problems.append(str(error))
        _say(f"frame {frame.index}: {error}")


class _Watch:
    """Tells once that a viewer has begun to forget."""

    def __init__(self, settings: SinkSettings, scene: Scene) -> None:
        self._limit = settings.memory_bytes if settings.has_viewer else None
        self._memory = settings.memory
        self._scene = scene

    def look(self) -> None:
        if self._limit is not None and self._scene.logged_bytes > self._limit:
            self._limit = None
            _say(f"more than --memory {self._memory} was shown: the viewer drops the oldest")
