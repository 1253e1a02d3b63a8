"""What is taken of a recording: which of its topics are the camera's, the sensor's and tf's.

Nobody agrees on names, so a topic is known by its type and by the words in its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppd_core.bag.recording import BagTopic

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, CLOUD = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
"""The second is of the first years of ROS 1."""

_TRANSPORTS = ("compressed", "compressedDepth")
_OWN = "ppd"
"""Part of the names of all that the node writes."""
_NO_COLOR = {"infra", "ir", "mask", "masks", "label", "labels", "segmentation", "semantic"}
_NO_COLOR |= {"preview", "disparity", "confidence", "thermal", "truth", "normals"}
_COLOR = {"rgb", "color", "colour"}
_OTHER_EYES = {"left", "right", "stereo", "gray", "grey", "mono", "fisheye"}
"""Beside a colour stream of the same device, these are not what is meant."""
_REGISTERED = ("depth_to_color", "depth_to_rgb", "depth_registered", "registered")
_COLOR_TO_DEPTH = ("color_to_depth", "rgb_to_depth")
"""Colour in the depth camera's place: neither of the two."""
_NAMES: tuple[str, ...] = ("image_raw", "image", "image_color", "image_raw_color")
_NAMES += ("image_rect_color", "image_rect_raw", "image_rect", "image_mono")
"""Of several images of one camera the first of these: K and D of a calibration are of the raw."""


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
) -> ChosenTopics:
    """Take the topics that were named, and find the others by type and name.

    Args:
        topics: of the recording, by name.
        image, camera_info, depth, lidar: names as given, or None to find them.
        source: of `alignment.config.SOURCES`; what it needs must be there, the rest may be missing
            or be left open where several would do.

    Raises:
        ValueError: a name that was given is not there or of another type, there is no image, or
            several topics would do; the message lists them and names the option that decides.
    """
    image = _given(topics, "--image", image, (IMAGE, COMPRESSED)) or _find_image(topics)
    info = _given(topics, "--camera-info", camera_info, (CAMERA_INFO,)) or _beside(topics, image)
    depth = _given(topics, "--depth", depth, (IMAGE, COMPRESSED)) or _find_depth(
        topics, image, is_needed=source == "depth"
    )
    depth_info = None if depth is None else _beside(topics, depth)
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


def list_topics(topics: Mapping[str, BagTopic]) -> str:
    """All topics by type, as an error shows them."""
    by_type: dict[str, list[str]] = {}
    for name, topic in topics.items():
        by_type.setdefault(topic.msgtype, []).append(name)
    if not by_type:
        return "it has no topics"
    return "it has " + "; ".join(f"{one}: {_joined(by_type[one])}" for one in sorted(by_type))


def camera_namespace(name: str) -> str:
    """/camera/color/image_raw/compressed -> /camera/color."""
    return _base(name).rpartition("/")[0]


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


def _find_image(topics: Mapping[str, BagTopic]) -> str:
    names = [
        name
        for name in _of_types(topics, (IMAGE, COMPRESSED))
        if not (_words(name) & _NO_COLOR or _says_depth(name) or name.endswith("/compressedDepth"))
    ]
    if not names:
        raise ValueError(
            f"the recording has no colour images: name them by --image; {list_topics(topics)}"
        )
    cameras = _by_camera(names)
    left = _without_siblings(cameras)
    if len(left) > 1:
        raise ValueError(
            f"the recording has several cameras, choose one by --image: {_joined(left.values())}"
        )
    return next(iter(left.values()))


def _find_depth(topics: Mapping[str, BagTopic], image: str, *, is_needed: bool) -> str | None:
    names = [
        name
        for name in _of_types(topics, (IMAGE, COMPRESSED))
        if _says_depth(name)
        and not _words(name) & _NO_COLOR
        and not any(one in name for one in _COLOR_TO_DEPTH)
        and (topics[name].msgtype == IMAGE) != name.endswith("/compressedDepth")
    ]
    device = _device(image)
    own = [name for name in names if name.startswith(f"{device}/")]
    registered = [name for name in own if any(one in name for one in _REGISTERED)]
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
    scanners = [name for name in names if not (_says_depth(name) or _words(name) & _COLOR)]
    best = scanners or names
    if len(best) == 1:
        return best[0]
    if not is_needed:
        return None
    if best:
        raise ValueError(f"several clouds were recorded, choose one by --lidar: {_joined(best)}")
    raise ValueError(f"the recording has no point cloud; {list_topics(topics)}")


def _beside(topics: Mapping[str, BagTopic], image: str) -> str | None:
    """The calibration in the image's namespace."""
    name = f"{camera_namespace(image)}/camera_info"
    is_there = name in topics and topics[name].msgtype == CAMERA_INFO
    return name if is_there else None


def _by_camera(names: Iterable[str]) -> dict[str, str]:
    """Namespace -> the one of its images that is meant: raw before rectified and compressed."""
    cameras: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        cameras.setdefault(camera_namespace(name), name)
    return cameras


def _rank(name: str) -> tuple[int, int, str]:
    last = _base(name).rpartition("/")[2]
    place = _NAMES.index(last) if last in _NAMES else len(_NAMES)
    return place, int(_base(name) != name), name


def _without_siblings(cameras: dict[str, str]) -> dict[str, str]:
    """Leave out what the same device shows beside its colour stream.

    These are the eyes of a stereo pair, and `rgb_raw` beside `rgb`, to which depth is registered.
    """
    colored = {
        _device(name)
        for camera, name in cameras.items()
        if _words(camera) & _COLOR and not _words(camera) & _OTHER_EYES
    }
    return {
        camera: name
        for camera, name in cameras.items()
        if not (_words(camera) & _OTHER_EYES and _device(name) in colored)
        and not (camera.endswith("_raw") and camera.removesuffix("_raw") in cameras)
    }


def _device(name: str) -> str:
    """/camera/camera/color/image_raw -> /camera/camera: what a camera's streams have in common."""
    namespace = camera_namespace(name)
    parent, _, stream = namespace.rpartition("/")
    is_stream = bool(_words(stream) & (_COLOR | _OTHER_EYES)) or _says_depth(stream)
    return parent if is_stream and "camera" not in stream else namespace


def _base(name: str) -> str:
    """The topic whose transport it is."""
    head, _, last = name.rpartition("/")
    return head if last in _TRANSPORTS else name


def _words(name: str) -> set[str]:
    """The words of a name, without the numbers behind them: infra1 is infra."""
    return {word.rstrip("0123456789") for word in re.split(r"[/_.\-]+", name.lower()) if word}


def _says_depth(name: str) -> bool:
    words = _words(_base(name))
    return any(word.startswith("depth") and word != "depthai" for word in words)


def _of_types(topics: Mapping[str, BagTopic], types: Collection[str]) -> list[str]:
    """Names of the topics of some types that are not our own."""
    return sorted(
        name
        for name, topic in topics.items()
        if topic.msgtype in types and (topic.msgtype in TF_TYPES or _OWN not in _words(name))
    )


def _is_static(name: str) -> bool:
    return name.endswith("tf_static")


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
