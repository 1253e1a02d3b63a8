"""What is taken of a recording: which of its topics are the camera's, the sensor's and tf's.

Nobody agrees on names, so a topic is known by its type, then by the encoding of its images, and
only then by the words in its name, see `topic_names`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppd_core.bag.topic_names import (
    COLOR,
    OTHER_EYES,
    camera_namespace,
    device,
    familiar,
    info_names,
    is_aside,
    is_registered,
    main_stream,
    rank,
    says_depth,
    words,
)
from ppd_core.depth_reading import shows_depth

if TYPE_CHECKING:
    from ppd_core.bag.recording import BagTopic, MessageSource

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, CLOUD = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
"""The second is of the first years of ROS 1."""

_OWN = "ppd"
"""Part of the names of all that the node writes."""


@dataclass(frozen=True)
class ChosenTopics:
    """The topics that frames are made of.

    Attributes:
        image: Image or CompressedImage.
        camera_info: its calibration, or None.
        depth: depth images of the same camera, or None.
        lidar: PointCloud2, or None.
        tf, tf_static: what says where frames are.
        depth_info: the depth images' own calibration, or None.
    """

    image: str
    camera_info: str | None = None
    depth: str | None = None
    lidar: str | None = None
    tf: tuple[str, ...] = ()
    tf_static: tuple[str, ...] = ()
    depth_info: str | None = None

    def names(self, source: str) -> frozenset[str]:
        """Those that are read when metres come from a source of `alignment.config.SOURCES`."""
        names = {self.image, self.camera_info, self.sensor(source)}
        if source == "lidar":
            names |= {*self.tf, *self.tf_static}
        return frozenset(name for name in names if name is not None)

    def sensor(self, source: str) -> str | None:
        """The topic that a source of metres reads; None where it reads none, or there is none."""
        return {"depth": self.depth, "lidar": self.lidar}.get(source)

    def best_source(self, *, has_camera: bool, has_own_metres: bool) -> str:
        """The best of `alignment.config.SOURCES` that there is.

        Args:
            has_camera: a camera is known even where no calibration was recorded.
            has_own_metres: the model guesses metres, as MoGe-2 does.
        """
        if self.depth is not None:
            return "depth"
        if self.lidar is not None and (self.camera_info is not None or has_camera):
            return "lidar"
        return "moge2" if has_own_metres else "none"


def choose_topics(
    topics: Mapping[str, BagTopic],
    *,
    image: str | None = None,
    camera_info: str | None = None,
    depth: str | None = None,
    lidar: str | None = None,
    source: str = "none",
    holds_depth: Mapping[str, bool | None] | None = None,
) -> ChosenTopics:
    """Take the topics that were named, and find the others by type, encoding and name.

    Args:
        topics: of the recording, by name.
        image, camera_info, depth, lidar: names as given, or None to find them.
        source: of `alignment.config.SOURCES`; what it needs must be there, the rest may be missing
            or be left open where several would do.
        holds_depth: of `read_encodings`; what is not in it goes by its name alone.

    Raises:
        ValueError: a name that was given is not there or of another type, there is no image, or
            several topics would do; the message lists them and names the option that decides.
    """
    holds_depth = holds_depth or {}
    image = _given(topics, "--image", image, (IMAGE, COMPRESSED)) or _find_image(
        topics, holds_depth
    )
    info = _given(topics, "--camera-info", camera_info, (CAMERA_INFO,))
    info = info or find_calibration(topics, image)
    depth = _given(topics, "--depth", depth, (IMAGE, COMPRESSED)) or _find_depth(
        topics, holds_depth, image, is_needed=source == "depth"
    )
    depth_info = None if depth is None else find_calibration(topics, depth)
    return ChosenTopics(
        image=image,
        camera_info=info,
        depth=depth,
        lidar=_given(topics, "--lidar", lidar, (CLOUD,))
        or _find_lidar(topics, is_needed=source == "lidar"),
        tf=tuple(name for name in _of_types(topics, TF_TYPES) if not _is_static(name)),
        tf_static=tuple(name for name in _of_types(topics, TF_TYPES) if _is_static(name)),
        # Beside the colour image's calibration, in one namespace, is no other.
        depth_info=None if depth_info == info else depth_info,
    )


def read_encodings(reader: MessageSource) -> dict[str, bool | None]:
    """Topic of images -> whether its first message holds depth, by `depth_reading.shows_depth`.

    Topics without a message, and those whose first cannot be read, are left out.
    """
    found = {}
    for name in _of_types(reader.topics, (IMAGE, COMPRESSED)):
        if reader.topics[name].count == 0:
            continue
        for message in reader.messages([name]):
            with suppress(ValueError):  # The pass over the frames tells of it.
                found[name] = shows_depth(reader.deserialize(message))
            break
    return found


def other_sensors(
    topics: Mapping[str, BagTopic], chosen: ChosenTopics, holds_depth: Mapping[str, bool | None]
) -> list[str]:
    """Depth topics and clouds that were recorded, and are not among the chosen ones."""
    depths = _depths(topics, holds_depth)
    others = {*depths, *_of_types(topics, (CLOUD,))} - {chosen.depth, chosen.lidar}
    return sorted(others)


def calibrations(topics: Mapping[str, BagTopic]) -> list[str]:
    """All that were recorded."""
    return _of_types(topics, (CAMERA_INFO,))


def find_calibration(topics: Mapping[str, BagTopic], image: str) -> str | None:
    """The CameraInfo that belongs to an image by its name; None where there is none."""
    names = [name for name in info_names(image) if name in topics]
    names = [name for name in names if topics[name].msgtype == CAMERA_INFO]
    return next(iter(_with_messages(topics, names)), None)


def list_topics(topics: Mapping[str, BagTopic]) -> str:
    """All topics by type, as an error shows them."""
    by_type: dict[str, list[str]] = {}
    for name, topic in topics.items():
        by_type.setdefault(topic.msgtype, []).append(name)
    if not by_type:
        return "it has no topics"
    return "it has " + "; ".join(f"{one}: {_joined(by_type[one])}" for one in sorted(by_type))


def _given(
    topics: Mapping[str, BagTopic], option: str, name: str | None, types: Collection[str]
) -> str | None:
    """A name from the command line, checked."""
    if name is None:
        return None
    name = name if name in topics or name.startswith("/") else f"/{name}"
    if name not in topics:
        raise ValueError(f"{option}: the recording has no topic {name}; {list_topics(topics)}")
    if topics[name].msgtype not in types:
        wanted = " or ".join(types)
        raise ValueError(
            f"{option} must be of type {wanted}, got {name} of {topics[name].msgtype}; "
            f"{list_topics(topics)}"
        )
    return name


def _find_image(topics: Mapping[str, BagTopic], holds_depth: Mapping[str, bool | None]) -> str:
    shown = [
        name
        for name in _of_types(topics, (IMAGE, COMPRESSED))
        if not (is_aside(name) or name.endswith("/compressedDepth") or holds_depth.get(name))
    ]
    # A colour camera may be that of a device called a depth camera.
    names = [name for name in shown if not says_depth(name)]
    names = names or [name for name in shown if holds_depth.get(name) is False]
    if not names:
        raise ValueError(
            f"the recording has no colour images: name them by --image; {list_topics(topics)}"
        )
    cameras = _by_camera(_with_messages(topics, names))
    left = _without_siblings(cameras)
    if len(left) > 1:
        raise ValueError(
            f"the recording has several cameras, choose one by --image: {_joined(left.values())}"
        )
    return next(iter(left.values()))


def _depths(topics: Mapping[str, BagTopic], holds_depth: Mapping[str, bool | None]) -> list[str]:
    """Depth topics of cameras, by encoding, and where that is open by name."""
    return [
        name
        for name in _of_types(topics, (IMAGE, COMPRESSED))
        if not is_aside(name)
        and (says_depth(name) if holds_depth.get(name) is None else holds_depth[name])
        # A JPEG is none: of compressed ones that nobody looked at, the transport decides.
        and (topics[name].msgtype == IMAGE or name.endswith("Depth") or name in holds_depth)
    ]


def _find_depth(
    topics: Mapping[str, BagTopic],
    holds_depth: Mapping[str, bool | None],
    image: str,
    *,
    is_needed: bool,
) -> str | None:
    names = _with_messages(topics, _depths(topics, holds_depth))
    own = [name for name in names if familiar(name).startswith(f"{device(image)}/")]
    registered = [name for name in own if is_registered(name)]
    best = list(_by_camera(registered or own).values())
    if len(best) == 1:
        return best[0]
    if not is_needed:
        return None
    if best:
        raise ValueError(
            f"several depth topics may belong to {image}, choose one by --depth: {_joined(best)}"
        )
    raise ValueError(
        f"no depth topic belongs to {image}: name one by --depth; {list_topics(topics)}"
    )


def _find_lidar(topics: Mapping[str, BagTopic], *, is_needed: bool) -> str | None:
    names = _of_types(topics, (CLOUD,))
    # A depth camera's clouds are of what it sees itself.
    scanners = [name for name in names if not (says_depth(name) or words(name) & COLOR)]
    best = scanners or names
    if len(best) == 1:
        return best[0]
    if not is_needed:
        return None
    if best:
        raise ValueError(f"several clouds were recorded, choose one by --lidar: {_joined(best)}")
    raise ValueError(f"the recording has no point cloud; {list_topics(topics)}")


def _by_camera(names: Iterable[str]) -> dict[str, str]:
    """Namespace -> the one of its images that is meant: raw before rectified and compressed."""
    cameras: dict[str, str] = {}
    for name in sorted(names, key=rank):
        cameras.setdefault(camera_namespace(name), name)
    return cameras


def _without_siblings(cameras: dict[str, str]) -> dict[str, str]:
    """Leave out what the same device shows beside its colour stream.

    These are the eyes of a stereo pair, and `rgb_raw` or `rgb/preview` beside `rgb`.
    """
    colored = {
        device(name)
        for camera, name in cameras.items()
        if words(camera) & COLOR and not words(camera) & OTHER_EYES
    }
    return {
        camera: name
        for camera, name in cameras.items()
        if not (words(camera) & OTHER_EYES and device(name) in colored)
        and (main_stream(camera) == camera or main_stream(camera) not in cameras)
    }


def _with_messages(topics: Mapping[str, BagTopic], names: list[str]) -> list[str]:
    """Those that have a message; all where none has."""
    return [name for name in names if topics[name].count != 0] or names


def _of_types(topics: Mapping[str, BagTopic], types: Collection[str]) -> list[str]:
    """Names of the topics of some types that are not our own."""
    return sorted(
        name
        for name, topic in topics.items()
        if topic.msgtype in types and (topic.msgtype in TF_TYPES or _OWN not in words(name))
    )


def _is_static(name: str) -> bool:
    return name.endswith("tf_static")


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
