"""What holds for a whole recording, read before its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppd_core.bag.recording import MessageSource
    from ppd_core.bag.topics import ChosenTopics


@dataclass(frozen=True, eq=False)
class StaticParts:
    """What is known from the first frame on.

    Attributes:
        transforms: all messages of /tf_static.
        info, depth_info: the first calibration of the images and of the depth images, or None.
    """

    transforms: Sequence[Any] = ()
    info: Any = None
    depth_info: Any = None


def read_static(reader: MessageSource, chosen: ChosenTopics) -> StaticParts:
    """Read what stands still and the first calibration, wherever in the recording they are.

    It ends as soon as no more of them can come, which for most recordings is after a few
    messages; where the counts are not known, the recording is read to its end.

    Raises:
        ValueError: the reader's own, for what is no recording at all.
    """
    left = {name: reader.topics[name].count for name in chosen.tf_static}
    infos: dict[str | None, Any] = {chosen.camera_info: None, chosen.depth_info: None}
    left |= {name: 1 for name in infos if name is not None and reader.topics[name].count != 0}
    left = {name: count for name, count in left.items() if count != 0}
    transforms = []
    if not left:
        return StaticParts()
    for message in reader.messages(tuple(left)):
        if message.topic not in left:
            continue
        try:
            read = reader.deserialize(message)
        except ValueError:
            continue  # The pass over the frames tells of it.
        if message.topic in infos:
            infos[message.topic] = infos[message.topic] or read
        else:
            transforms.append(read)
        count = left[message.topic]
        if count is not None:
            left[message.topic] = count - 1
        left = {name: count for name, count in left.items() if count != 0}
        if not left:
            break
    return StaticParts(transforms, infos[chosen.camera_info], infos[chosen.depth_info])
