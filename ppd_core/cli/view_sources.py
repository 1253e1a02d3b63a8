"""What the sources on the command line of `ppd view` mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.cli.camera_options import alignment_of, camera_of
from ppd_core.cli.model_options import effort, load_pipeline

if TYPE_CHECKING:
    from ppd_core.bag.reader import BagReader
    from ppd_core.bag.recorded_frame import RecordedFrameSettings
    from ppd_core.bag.topics import ChosenTopics
    from ppd_core.cli.camera_options import CameraOfSize
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.types import Alignment, Intrinsics
    from ppd_core.view.frame import ViewFrame
    from ppd_core.view.photos import Estimate

    Frames = Generator[ViewFrame, None, None]
    Say = Callable[[str], None]

FOV_DEG = 60.0
"""Assumed of a camera that nobody tells of."""
CAMERA_PREFIX = "camera:"
TOPICS = "topics"


def frames_of(args: argparse.Namespace, say: Say, report: Say) -> Frames:
    """The frames that the words on the command line mean; all that can fail at once does here.

    Args:
        args: of `ppd view`.
        say: takes a sentence for the user.
        report: takes a sentence on what cannot be shown; the rest is.

    Raises:
        ValueError, ImportError, OSError, WeightsError: there is nothing to show; why.
    """
    from ppd_core.view.recording import is_recording
    from ppd_core.view.sources import find_source, source_names

    first = args.sources[0]
    is_named = first in {TOPICS, *source_names()}
    if not (is_named or first.startswith(CAMERA_PREFIX) or is_recording(Path(first))):
        return _photos(args, say, report)
    if len(args.sources) > 1:
        raise ValueError(f"{first} must be the only source, got {' '.join(args.sources)}")
    if is_named:
        if first not in source_names():
            raise ValueError(
                "live topics need ROS 2 and the package ppd_ros: docs/install.md; where colcon "
                "built it: ros2 run ppd_ros view"
            )
        return find_source(first)(args.ros_args, args.world_frame)
    if first.startswith(CAMERA_PREFIX):
        return _camera(args, first.removeprefix(CAMERA_PREFIX), say)
    return _recording(args, Path(first), say, report)


def _photos(args: argparse.Namespace, say: Say, report: Say) -> Frames:
    from ppd_core.cli.depth import ENDINGS
    from ppd_core.cli.inputs import find_inputs
    from ppd_core.view.photos import photo_frames

    inputs, missing, passed_over = find_inputs(args.sources, tuple(ENDINGS.values()))
    for problem in missing:
        report(problem)
    for sentence in passed_over:
        say(sentence)
    if not inputs:
        raise ValueError("no input found")
    alignment = _alignment_of(args, say)
    return photo_frames(
        inputs,
        _estimate(args, say),
        _camera_of(args, say),
        alignment=alignment,
        every=args.every,
        report=report,
    )


def _camera(args: argparse.Namespace, name: str, say: Say) -> Frames:
    from ppd_core.view.webcam import NewestImage, camera_frames

    camera, alignment = NewestImage(name), _alignment_of(args, say)
    estimate, intrinsics_of = _estimate(args, say), _camera_of(args, say)
    return camera_frames(camera, estimate, intrinsics_of, alignment=alignment)


def _recording(args: argparse.Namespace, path: Path, say: Say, report: Say) -> Frames:
    from ppd_core.bag.reader import BagReader
    from ppd_core.view.recording import recorded_outputs, recorded_roles

    reader = BagReader(path)
    chosen: ChosenTopics | ValueError
    try:
        chosen = _chosen(args, reader)
    except ValueError as error:
        if args.image or args.camera_info or args.depth:
            raise
        chosen = error
    roles = recorded_roles(reader.topics, None if isinstance(chosen, ValueError) else chosen)
    if roles:
        say(f"shown as recorded: {', '.join(sorted(roles))}")
        frames = recorded_outputs(
            reader,
            roles,
            settings=_frame_settings(args, "none"),
            world_frame=args.world_frame,
            report=report,
        )
    elif isinstance(chosen, ValueError):
        raise chosen
    else:
        frames = _estimated(args, reader, chosen, say, report)
    return _closing(reader, frames)


def _chosen(args: argparse.Namespace, reader: BagReader) -> ChosenTopics:
    from ppd_core.bag.topics import choose_topics, read_encodings

    return choose_topics(
        reader.topics,
        image=args.image,
        camera_info=args.camera_info,
        depth=args.depth,
        holds_depth=read_encodings(reader),
    )


def _estimated(
    args: argparse.Namespace, reader: BagReader, chosen: ChosenTopics, say: Say, report: Say
) -> Frames:
    from ppd_core.view.recording import estimated_frames

    constant = alignment_of(args)
    pipeline = _pipeline(args, say)
    best = chosen.best_source(
        has_camera=camera_of(args) is not None, has_own_metres=pipeline.config.has_own_metres
    )
    source = best if constant is None else "constant"
    sensor = {"depth": f" by {chosen.depth}", "lidar": f" by {chosen.lidar}"}.get(source, "")
    unit = "relative depth" if source == "none" else f"in metres{sensor}"
    say(f"through the model: {chosen.image}, {unit}")
    return estimated_frames(
        reader,
        chosen,
        _frame_settings(args, source, constant),
        _settled(args, pipeline),
        _camera_of(args, say),
        every=args.every,
        world_frame=args.world_frame,
        report=report,
    )


def _frame_settings(
    args: argparse.Namespace, source: str, constant: Alignment | None = None
) -> RecordedFrameSettings:
    from ppd_core.alignment.config import AlignmentConfig
    from ppd_core.bag.recorded_frame import RecordedFrameSettings

    return RecordedFrameSettings(
        source=source,
        constant=constant,
        config=AlignmentConfig(has_field=args.field, depth_unit_m=args.depth_unit),
        image_kind=args.image_kind,
    )


def _closing(reader: BagReader, frames: Frames) -> Frames:
    with reader, closing(frames):
        yield from frames


def _camera_of(args: argparse.Namespace, say: Say) -> CameraOfSize:
    """The camera that the options tell of, or one that is assumed; that is said once it is."""
    from ppd_core.types import Intrinsics

    camera, is_said = camera_of(args), False

    def assumed(width: int, height: int) -> Intrinsics:
        nonlocal is_said
        if not is_said:
            say(
                f"the camera is not known: it is taken to see {FOV_DEG:g} degrees from side to "
                "side (--fov-deg, --focal-px or --camera say better)"
            )
        is_said = True
        return Intrinsics.from_fov(width, height, FOV_DEG)

    return camera or assumed


def _estimate(args: argparse.Namespace, say: Say) -> Estimate:
    return _settled(args, _pipeline(args, say))


def _settled(args: argparse.Namespace, pipeline: DepthPipeline) -> Estimate:
    num_steps, processing_area = effort(args, pipeline.config)
    return partial(pipeline, num_steps=num_steps, processing_area=processing_area)


def _pipeline(args: argparse.Namespace, say: Say) -> DepthPipeline:
    pipeline = load_pipeline(args)
    if not pipeline.is_trained:
        say(f"WARNING: model {args.model} is untrained, its depth means nothing")
    return pipeline


def _alignment_of(args: argparse.Namespace, say: Say) -> Alignment | None:
    alignment = alignment_of(args)
    if alignment is None:
        say("depth is relative, without a unit; --near and --far make metres of it")
    return alignment
