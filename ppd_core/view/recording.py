"""A recording: what it has of the node's outputs, as recorded; else what the model makes of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.bag.bag_files import PACKED, STORAGES
from ppd_core.bag.frames import RecordedFrame, RecordedFrameSettings, recorded_frames
from ppd_core.bag.static import read_static
from ppd_core.bag.topics import (
    CAMERA_INFO,
    CLOUD,
    COMPRESSED,
    IMAGE,
    TF_TYPES,
    ChosenTopics,
)
from ppd_core.bag.typestore import ALIGNMENT_TYPE
from ppd_core.camera_info import shows_rectified
from ppd_core.types import AlignmentError
from ppd_core.view.assembly import Assembler, Role
from ppd_core.view.frame import ViewFrame, frame_of_result
from ppd_core.view.places import Places

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ppd_core.alignment.anchors import Anchors
    from ppd_core.bag.reader import BagReader
    from ppd_core.bag.recording import BagMessage, BagTopic
    from ppd_core.types import AlignedDepth, Intrinsics
    from ppd_core.view.photos import Estimate

_SUFFIXES = (*STORAGES, *PACKED)
_DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
_OF_NODE = r"(?:^|.*/)ppd/(?:.*/)?"
"""Before the names of the node's outputs: a namespace, and the camera's, of several."""
_DEPTHS = ("depth/image", "depth/image_raw", "depth/image_raw/compressedDepth")
"""Best first."""


def is_recording(path: Path) -> bool:
    """Whether a path looks like a recording, by its name or what is in the folder."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(
            one.suffix in _SUFFIXES for one in path.iterdir()
        )
    return path.suffix in _SUFFIXES or path.name == "metadata.yaml"


def recorded_roles(topics: Mapping[str, BagTopic], chosen: ChosenTopics | None) -> dict[str, Role]:
    """Topic -> what it is, for a recording of the node's outputs; empty where it has none.

    Args:
        topics: of the recording.
        chosen: what the outputs were made of, as far as it is known.
    """
    depths = [name for one in _DEPTHS for name in _named(topics, one, IMAGE, COMPRESSED)]
    roles = dict.fromkeys(depths[:1], Role.DEPTH)
    roles |= dict.fromkeys(_named(topics, "points", CLOUD)[:1], Role.POINTS)
    if not roles:
        return {}
    roles = {**_camera_roles(topics, chosen), **roles}
    roles |= dict.fromkeys(_named(topics, "depth/camera_info", CAMERA_INFO)[:1], Role.INFO)
    roles |= dict.fromkeys(_named(topics, "depth/confidence", IMAGE)[:1], Role.CONFIDENCE)
    for name, topic in topics.items():
        if topic.msgtype == ALIGNMENT_TYPE:
            roles[name] = Role.ALIGNMENT
        elif topic.msgtype == _DIAGNOSTICS:
            roles[name] = Role.DIAGNOSTICS
        elif topic.msgtype in TF_TYPES:
            roles[name] = Role.TF_STATIC if name.endswith("static") else Role.TF
    return roles


def _camera_roles(topics: Mapping[str, BagTopic], chosen: ChosenTopics | None) -> dict[str, Role]:
    """What the outputs were made of."""
    if chosen is None:
        return dict.fromkeys(_named(topics, "rgb/image", IMAGE)[:1], Role.IMAGE)
    roles = {chosen.image: Role.IMAGE}
    for name, role in ((chosen.depth, Role.SENSOR), (chosen.camera_info, Role.INFO)):
        if name is not None:
            roles[name] = role
    return roles


def recorded_outputs(
    reader: BagReader,
    roles: Mapping[str, Role],
    *,
    settings: RecordedFrameSettings,
    world_frame: str,
    report: Callable[[str], None],
) -> Generator[ViewFrame, None, None]:
    """What was recorded, message after message.

    Args:
        reader: open.
        roles: topic -> what it is.
        settings: what the images and the sensor's depth are.
        world_frame: of `Places`.
        report: is told, in a sentence, of what cannot be shown.
    """
    images = [name for name, role in roles.items() if role is Role.IMAGE]
    assembler = Assembler(
        set(roles.values()),
        world_frame=world_frame,
        is_rectified=any(shows_rectified(settings.image_kind, name) for name in images),
        depth_unit_m=settings.config.depth_unit_m,
    )
    unread: dict[str, int] = {}
    for message in reader.messages(tuple(roles)):
        try:
            read = reader.deserialize(message)
            yield from assembler.take(roles[message.topic], read, message.log_ns)
        # ImportError: of an encoding that only a library reads which is not there.
        except (ValueError, ImportError) as error:
            if message.topic not in unread:
                report(f"{message.topic}: {error}")
            unread[message.topic] = unread.get(message.topic, 0) + 1
    for topic, count in unread.items():
        if count > 1:
            report(f"{topic}: {count} messages could not be read")
    for gap in reader.gaps:
        report(gap.describe())


def estimated_frames(
    reader: BagReader,
    chosen: ChosenTopics,
    settings: RecordedFrameSettings,
    estimate: Estimate,
    camera: Callable[[int, int], Intrinsics],
    *,
    every: int,
    world_frame: str,
    report: Callable[[str], None],
) -> Generator[ViewFrame, None, None]:
    """What the model makes of a recording's images, in metres where a sensor was recorded.

    Args:
        reader: open.
        chosen: its topics.
        settings: what ties depth to metres.
        estimate: the model; takes what ties a frame to metres as `alignment`.
        camera: gives the intrinsics of an image that has no calibration.
        every: every how many images one is taken.
        world_frame: of `Places`.
        report: is told, in a sentence, of what cannot be shown.
    """
    aligner = FrameAligner(settings.config)
    places = Places(world_frame)
    static = read_static(reader, chosen)
    for message in static.transforms:
        places.add(message, is_static=True)
    watched = _TfWatcher(reader, chosen, places)
    is_told = False
    for frame in recorded_frames(watched, chosen, settings, static=static):
        if frame.index % every:
            continue
        try:
            image = frame.rgb()
        except ValueError as error:
            report(f"image {frame.index}: {error}")
            continue
        height, width = image.shape[:2]
        intrinsics = frame.intrinsics(width, height) or camera(width, height)
        metres = None
        if settings.source != "none":
            metres = partial(_align, frame, aligner, intrinsics)
        result = estimate(image, intrinsics=intrinsics, alignment=metres)
        failure = result.alignment_failure
        if failure is not None and failure.reason == "unreadable" and not is_told:
            is_told = True
            report(f"image {frame.index}: {failure}")
        yield frame_of_result(
            result,
            image,
            index=frame.index,
            stamp_ns=frame.time_ns,
            sensor_depth=_sensor_depth(frame),
        )
        places.want(frame.index, frame.time_ns, frame.frame_id)
        yield from places.found()
    yield from places.found()
    for gap in reader.gaps:
        report(gap.describe())


class _TfWatcher:
    """A reader whose tf is looked at on its way; whoever reads by it need not ask for tf."""

    def __init__(self, reader: BagReader, chosen: ChosenTopics, places: Places) -> None:
        self.topics = reader.topics
        self.deserialize = reader.deserialize
        self._reader, self._tf, self._places = reader, frozenset(chosen.tf), places

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        for message in self._reader.messages({*topics, *self._tf}):
            if message.topic in self._tf:
                with contextlib.suppress(ValueError):  # Without it the world is left out.
                    self._places.add(self.deserialize(message), is_static=False)
            if message.topic in topics:
                yield message


def _align(
    frame: RecordedFrame,
    aligner: FrameAligner,
    intrinsics: Intrinsics,
    image: np.ndarray,
    relative: Tensor,
    own_anchors: Callable[[], Anchors],
) -> AlignedDepth:
    height, width = relative.shape
    evidence = frame.evidence(
        height, width, intrinsics=intrinsics, own_anchors=own_anchors, device=relative.device
    )
    return aligner.align(relative, evidence, frame.time_ns / 1e9, image=image)


def _sensor_depth(frame: RecordedFrame) -> np.ndarray | None:
    try:
        is_image = frame.settings.source == "depth" and frame.sensor is not None
        return frame.sensor_reading() if is_image else None
    except AlignmentError:  # The alignment's failure tells of it.
        return None


def _named(topics: Mapping[str, BagTopic], name: str, *types: str) -> list[str]:
    """The node's topics of a name and one of some types, the shortest first."""
    # `ppd bag` may be told another name than ppd; its alignments tell which.
    told = [
        re.escape(one.removesuffix("alignment"))
        for one, topic in topics.items()
        if topic.msgtype == ALIGNMENT_TYPE and one.endswith("/alignment")
    ]
    pattern = re.compile(f"(?:{'|'.join([_OF_NODE, *told])}){re.escape(name)}")
    found = [one for one in topics if pattern.fullmatch(one) and topics[one].msgtype in types]
    return sorted(found, key=lambda one: (len(one), one))
