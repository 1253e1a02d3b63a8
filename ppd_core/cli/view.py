"""`ppd view`: image, depth, cloud and health in a viewer, while they come."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.cli.camera_options import (
    add_camera_options,
    add_message_options,
    add_range_options,
)
from ppd_core.cli.model_options import add_model_options, check_effort

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ppd_core.view.frame import ViewFrame
    from ppd_core.view.scene import Scene
    from ppd_core.view.sinks import Sinks, SinkSettings

    Frames = Generator[ViewFrame, None, None]
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MAX_POINTS = 100_000
_LOOK_S = 0.2

_EPILOG = """\
what is shown:
  photo.jpg, a folder, clip.mp4   what the model makes of them, frame after frame
  a recording                     rosbag2 folder, .mcap, .db3 or .bag: the node's outputs as they
                                  were recorded; where it has none, what the model makes of it
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
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image, video, folder, recording, camera:N, topics",
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
        help="of what goes through the model, every Nth frame (default: %(default)s)",
    )
    what.add_argument("--frames", type=int, metavar="N", help="end after N frames with depth")
    model = parser.add_argument_group("model")
    add_model_options(model)
    # In the package and fast: who wants to look does not want to wait for 2 GB.
    model.set_defaults(model="nano")
    parser.set_defaults(model="nano")
    camera = parser.add_argument_group("camera and scale")
    add_camera_options(camera)
    add_range_options(camera)
    recording = parser.add_argument_group("a recording")
    recording.add_argument("--image", metavar="TOPIC", help="default: the one colour camera")
    recording.add_argument("--camera-info", metavar="TOPIC", help="default: beside the image")
    recording.add_argument(
        "--depth", metavar="TOPIC", help="depth registered to the image (default: by its name)"
    )
    add_message_options(recording)
    recording.add_argument(
        "--field", action="store_true", help="follow the sensor locally on surfaces, too"
    )
    recording.add_argument(
        "--world-frame",
        default="",
        metavar="FRAME",
        help="of tf, that the cloud is shown in, too (default: the topmost above the camera)",
    )
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
    from ppd_core.cli.view_sources import frames_of
    from ppd_core.stop_signals import tidy_sigterm
    from ppd_core.view.sinks import Sinks
    from ppd_core.weights import WeightsError

    problems: list[str] = []

    def report(problem: str) -> None:
        problems.append(problem)
        _say(problem)

    try:
        settings = _sink_settings(args)
        _check(args)
        # SIGTERM ends as Ctrl-C does, so that what was served is closed, too.
        with tidy_sigterm():
            frames = frames_of(args, _say, report)
            with Sinks(settings) as sinks:
                _show(args, settings, sinks, frames, report)
    except (ValueError, OSError, ImportError, WeightsError) as error:
        _say(str(error))
        return 2
    return 1 if problems else 0


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


def _show(
    args: argparse.Namespace,
    settings: SinkSettings,
    sinks: Sinks,
    frames: Frames,
    report: Callable[[str], None],
) -> None:
    """Show frames until they end, or nobody looks any more."""
    from ppd_core.view.scene import Scene

    if sinks.url is not None:
        print(f"open {sinks.url}", flush=True)
    scene = Scene(sinks.recording, max_points=args.points)
    watch = _Watch(settings, scene)
    try:
        with contextlib.closing(frames):
            for frame in _first(frames, args.frames):
                if sinks.is_left:
                    break
                _log(scene, frame, report)
                watch.look()
    except ValueError as error:  # the source has ended before its time
        report(str(error))
    if not sinks.is_left:
        sinks.flush()
    print(f"{scene.frame_count} frames shown", flush=True)
    if settings.has_viewer and settings.is_web:
        _say("all is there; Ctrl-C ends")
        while not sinks.is_left:
            time.sleep(_LOOK_S)
    if sinks.is_left and (why := sinks.why_left()):
        report(why)


def _first(frames: Frames, count: int | None) -> Frames:
    """The first so many frames; of one that comes in parts, what comes before the next depth."""
    indices: set[int] = set()
    for frame in frames:
        if frame.depth is not None:
            indices.add(frame.index)
        if count is not None and len(indices) > count:
            return
        yield frame
        is_whole = frame.depth is not None and frame.image is not None
        if is_whole and len(indices) == count:
            return


def _log(scene: Scene, frame: ViewFrame, report: Callable[[str], None]) -> None:
    try:
        scene.log(frame)
    except ValueError as error:
        report(f"frame {frame.index}: {error}")


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
