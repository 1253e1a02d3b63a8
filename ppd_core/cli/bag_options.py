"""Options of `ppd bag`, and what is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.alignment.config import ON_FAILURE, SOURCES
from ppd_core.bag.output_names import COMPRESSIONS, DEFAULT_OUTPUTS, OUTPUTS, SUFFIXES
from ppd_core.cli.camera_options import (
    add_camera_options,
    add_message_options,
    add_range_options,
    alignment_of,
    camera_of,
)
from ppd_core.cli.model_options import add_model_options, effort

if TYPE_CHECKING:
    from ppd_core.bag.reader import BagReader
    from ppd_core.bag.recording import BagTopic
    from ppd_core.bag.settings import RunSettings
    from ppd_core.bag.topics import ChosenTopics
    from ppd_core.config import PipelineConfig
    from ppd_core.pipeline import DepthPipeline

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

KEEP_ALL, KEEP_NONE = "all", "none"
_EPILOG = """\
IN is a rosbag2 folder (MCAP or SQLite), a single .mcap or .db3 file, or a ROS 1 .bag. OUT becomes
a folder as `ros2 bag record -o OUT` makes it, which `ros2 bag play OUT` plays; with --storage ros1
it holds .bag files. Every image gets its depth, however long that takes. The outputs have the
header of their image, and stand at the time at which it was recorded.

what is written, below --namespace:
  depth        /ppd/depth/image        32FC1 metres; NaN = invalid, +Inf = beyond the range
  depth_mm     /ppd/depth/image_raw    16UC1 millimetres; 0 = invalid
  camera_info  /ppd/depth/camera_info
  confidence   /ppd/depth/confidence   32FC1, 0 to 1: that the metres are within 3 % of the truth
  preview      /ppd/depth/image_color  colours for the eye
  points       /ppd/points             organized cloud, x y z rgb
  rgb          /ppd/rgb/image          the image as the model saw it
  alignment    /ppd/alignment          what ties the frame to metres (ppd_ros/msg/Alignment)
  diagnostics  /diagnostics            once a second of the recording

A run that was ended goes on where it was when the same command is given again.

exit status: 0 all done, 1 a part of IN, an image or a message of the sensor could not be read,
2 wrong usage or nothing could run, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `bag` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "bag",
        help="depth for a recording (rosbag2, ROS 1), without ROS",
        description="Write the depth of a recording's images, beside what was recorded.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder")
    _add_topic_options(parser.add_argument_group("what is read"))
    _add_metres_options(parser.add_argument_group("what ties depth to metres"))
    _add_output_options(parser.add_argument_group("what is written"))
    model = parser.add_argument_group("model")
    add_model_options(model)
    model.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="frames that go through the model together (default: 4 on CUDA, else 1)",
    )


def _add_topic_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--image", metavar="TOPIC", help="default: the one colour camera of IN")
    group.add_argument("--camera-info", metavar="TOPIC", help="default: beside the image")
    add_camera_options(group)  # of a recording without
    group.add_argument(
        "--depth", metavar="TOPIC", help="depth registered to the image (default: by its name)"
    )
    group.add_argument("--lidar", metavar="TOPIC", help="default: the one cloud of IN")
    add_message_options(group)


def _add_metres_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--source",
        choices=SOURCES,
        help="default: constant if --near and --far are given, else the sensor that is named, "
        "else depth, else lidar if IN has it, else moge2 if the model has it, else none: depth "
        "is relative",
    )
    add_range_options(group)
    group.add_argument(
        "--field", action="store_true", help="follow the sensor locally on surfaces, too"
    )
    group.add_argument(
        "--surfaces",
        action="store_true",
        help="settle each pixel on one of the surfaces that sensor and model see around it",
    )
    group.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="metres with less become NaN (default: %(default)s)",
    )
    group.add_argument(
        "--no-track", action="store_true", help="fit each frame alone; else the scale is steadied"
    )
    group.add_argument(
        "--max-slop",
        type=float,
        default=0.1,
        metavar="S",
        help="seconds that the stamps of image and sensor may be apart (default: %(default)s)",
    )
    group.add_argument(
        "--fixed-frame",
        default="",
        metavar="FRAME",
        help="frame that stands still: takes the robot's motion between scan and image out",
    )
    group.add_argument(
        "--on-failure",
        choices=tuple(ON_FAILURE),
        default="drop",
        help="a frame that nothing ties to metres (default: %(default)s, but its alignment)",
    )


def _add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--write",
        nargs="+",
        choices=tuple(OUTPUTS),
        metavar="WHAT",
        help=f"any of {', '.join(OUTPUTS)} (default: {' '.join(DEFAULT_OUTPUTS)})",
    )
    group.add_argument(
        "--keep",
        nargs="+",
        default=[KEEP_ALL],
        metavar="TOPIC",
        help="what is copied of IN: all, none, or these topics (default: all)",
    )
    group.add_argument("--namespace", default="/ppd", help="default: %(default)s")
    group.add_argument(
        "--storage",
        choices=tuple(SUFFIXES),
        default=next(iter(SUFFIXES)),
        help="default: %(default)s",
    )
    group.add_argument(
        "--compression",
        choices=COMPRESSIONS,
        default=COMPRESSIONS[0],
        help="of MCAP's chunks (default: %(default)s)",
    )
    group.add_argument(
        "--decimation", type=int, default=1, metavar="N", help="every Nth row and column in points"
    )
    group.add_argument("--min-m", type=float, default=0.0, metavar="M", help="nearer is -Inf")
    group.add_argument("--max-m", type=float, default=1000.0, metavar="M", help="farther is +Inf")
    group.add_argument(
        "--overwrite", action="store_true", help="begin anew where OUT holds such a run"
    )


def chosen_of(args: argparse.Namespace, reader: BagReader) -> ChosenTopics:
    """The topics that frames are made of.

    Raises:
        ValueError: one is missing, or it is not clear which is meant.
    """
    from ppd_core.bag.topics import choose_topics, read_encodings

    return choose_topics(
        reader.topics,
        image=args.image,
        camera_info=args.camera_info,
        depth=args.depth,
        lidar=args.lidar,
        source=args.source or "none",
        holds_depth=read_encodings(reader),
    )


def _source(args: argparse.Namespace, chosen: ChosenTopics, config: PipelineConfig) -> str:
    """What ties depth to metres: as given, else the best that there is."""
    if args.source is not None:
        return args.source
    if args.near is not None:
        return "constant"
    if args.lidar is not None and args.depth is None:
        return "lidar"
    return chosen.best_source(
        has_camera=camera_of(args) is not None, has_own_metres=config.has_own_metres
    )


def settings_of(
    args: argparse.Namespace, chosen: ChosenTopics, pipeline: DepthPipeline
) -> RunSettings:
    """How frames are worked on.

    Raises:
        ValueError: an option is out of range, or two do not fit each other.
    """
    from ppd_core.alignment.config import AlignmentConfig
    from ppd_core.bag.recorded_frame import RecordedFrameSettings
    from ppd_core.bag.settings import RunSettings

    source, constant = _source(args, chosen, pipeline.config), alignment_of(args)
    if constant is not None and source != "constant":
        raise ValueError(f"--near and --far are of source constant, got --source {source}")
    if source == "moge2" and not pipeline.config.has_own_metres:
        raise ValueError(f"--source moge2 needs --model ppd-moge2, got {args.model}")
    num_steps, processing_area = effort(args, pipeline.config)
    # Each once, in one order: the same in other words is the same run.
    outputs = tuple(name for name in OUTPUTS if name in (args.write or DEFAULT_OUTPUTS))
    batch_size = args.batch_size
    if batch_size is None:
        batch_size = 4 if pipeline.device.type == "cuda" and not pipeline.is_package else 1
    return RunSettings(
        frames=RecordedFrameSettings(
            source=source,
            constant=constant,
            config=AlignmentConfig(
                has_field=args.field,
                has_surfaces=args.surfaces,
                is_tracked=not args.no_track,
                depth_unit_m=args.depth_unit,
            ),
            max_slop_s=args.max_slop,
            fixed_frame=args.fixed_frame,
            image_kind=args.image_kind,
        ),
        num_steps=num_steps,
        processing_area=processing_area,
        outputs=outputs,
        namespace=args.namespace,
        on_failure=args.on_failure,
        min_confidence=args.min_confidence,
        min_m=args.min_m,
        max_m=args.max_m,
        decimation=args.decimation,
        batch_size=batch_size,
    )


def given_of(args: argparse.Namespace) -> dict[str, str]:
    """Model and camera as they were given: a run goes on with the same only."""
    camera = args.focal_px, args.fov_deg, args.camera and _identity(args.camera)
    return {"model": _identity(args.model), "camera": str(camera)}


def _identity(name: str | Path) -> str:
    """Of a file its size and time, too: there may be another one by now."""
    path = Path(name)
    if not path.is_file():
        return str(name)
    return f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}"


def kept_of(args: argparse.Namespace, reader: BagReader, settings: RunSettings) -> set[str]:
    """The topics that are copied; what is written anew is not among them.

    Raises:
        ValueError: one is not there, or cannot be copied.
    """
    if args.keep == [KEEP_NONE]:
        return set()
    written = {settings.topic(name) for name in settings.outputs if name != "diagnostics"}
    kept = set(reader.topics) - written if args.keep == [KEEP_ALL] else set(args.keep)
    missing = sorted(kept - set(reader.topics))
    if missing:
        raise ValueError(f"--keep: {args.input} has no topic {missing[0]}")
    clash = sorted(written & kept)
    if clash:
        raise ValueError(f"--keep: {clash[0]} is written anew; give another --namespace")
    for name in sorted(kept):
        problem = _copy_problem(reader.topics[name], args, settings)
        if problem:
            raise ValueError(f"{name} cannot be copied, {problem}: name those that can by --keep")
    return kept


def _copy_problem(topic: BagTopic, args: argparse.Namespace, settings: RunSettings) -> str:
    """Why a topic cannot be copied, or ""; known before the run, and not an hour later."""
    from ppd_core.bag.typestore import complete_topic, typestore

    is_same = "diagnostics" in settings.outputs and topic.name == settings.topic("diagnostics")
    if is_same and topic.msgtype != "diagnostic_msgs/msg/DiagnosticArray":
        return f"for diagnostics are written there and it is of {topic.msgtype}"
    if args.storage == "ros1":
        store = typestore()
        complete_topic(topic, store)
        if topic.msgtype not in store.fielddefs:
            return f"for nothing tells what {topic.msgtype} is and ROS 1 must be told"
    return ""
