"""What the name of a topic says of a camera: the customs of drivers, in one place."""

from __future__ import annotations

import re

TRANSPORTS = ("compressed", "compressedDepth")
COLOR = {"rgb", "color", "colour"}
OTHER_EYES = {"left", "right", "stereo", "gray", "grey", "mono", "fisheye"}
"""Beside a colour stream of the same device, these are not what is meant."""
_ASIDE = {
    "infra",
    "infrared",
    "ir",
    "mask",
    "masks",
    "label",
    "labels",
    "segmentation",
    "semantic",
}
_ASIDE |= {"disparity", "confidence", "thermal", "truth", "normals"}
_REGISTERED = ("depth_to_color", "depth_to_rgb", "depth_registered", "registered")
_COLOR_TO_DEPTH = ("color_to_depth", "rgb_to_depth")
"""Colour in the depth camera's place: neither of the two."""
_NAMES: tuple[str, ...] = ("image_raw", "image", "image_color", "image_raw_color")
_NAMES += ("image_rect_color", "image_rect_raw", "image_rect", "image_mono")
"""Of several images of one camera the first of these: K and D of a calibration are of the raw."""
_FAMILIAR = (
    # realsense-viewer: librealsense, src/media/ros/ros_file_format.h.
    (r"/sensor_\d+/([A-Za-z]+_\d+)/image/data$", r"/\1/image_raw"),
    # ZED from 5.1 on, as it was named before: zed_camera_component_video_depth.cpp.
    (r"/(rgb|left|right|stereo)/color/rect/image$", r"/\1/image_rect_color"),
    (r"/(rgb|left|right|stereo)/color/raw/image$", r"/\1_raw/image_raw_color"),
    (r"/(rgb|left|right|stereo)/gray/rect/image$", r"/\1_gray/image_rect_gray"),
    (r"/(rgb|left|right|stereo)/gray/raw/image$", r"/\1_raw_gray/image_raw_gray"),
    # DepthAI's small picture of a camera, all that a TurtleBot 4 sends by default.
    (r"/preview/(image\w*)$", r"_preview/\1"),
)
"""Names of drivers that put more into a path, and what others would call the same."""
_SIBLINGS = ("_raw", "_preview")
"""Ends of what a camera shows beside the stream to which depth is registered."""


def base(name: str) -> str:
    """The topic whose transport it is."""
    head, _, last = name.rpartition("/")
    return head if last in TRANSPORTS else name


def camera_namespace(name: str) -> str:
    """/camera/color/image_raw/compressed -> /camera/color; of `familiar` names."""
    return familiar(name).rpartition("/")[0]


def device(name: str) -> str:
    """/camera/camera/color/image_raw -> /camera/camera: what a camera's streams have in common."""
    namespace = camera_namespace(name)
    parent, _, stream = namespace.rpartition("/")
    is_stream = bool(words(stream) & (COLOR | OTHER_EYES)) or says_depth(stream)
    return parent if is_stream and "camera" not in stream else namespace


def familiar(name: str) -> str:
    """The name as most drivers would have it, without its transport."""
    name = base(name)
    for pattern, usual in _FAMILIAR:
        name = re.sub(pattern, usual, name)
    return name


def info_names(image: str) -> list[str]:
    """Where the calibration of an image may be, the likeliest first."""
    name = base(image)
    parent = name.rpartition("/")[0]
    return [
        f"{parent}/camera_info",
        f"{name}/camera_info",  # ZED, beside the other
        f"{parent.rpartition('/')[0]}/info/camera_info",  # realsense-viewer
    ]


def is_aside(name: str) -> bool:
    """Whether it shows neither colour nor depth, or what is no camera's."""
    return bool(words(name) & _ASIDE) or any(one in name for one in _COLOR_TO_DEPTH)


def is_of_depth_camera(name: str) -> bool:
    """Whether a depth topic is known to be seen from the depth camera's own place."""
    return re.search(_FAMILIAR[0][0], name) is not None


def is_registered(name: str) -> bool:
    """Whether a depth topic says that it is registered to the colour image."""
    return any(one in name for one in _REGISTERED)


def main_stream(camera: str) -> str:
    """/zed/rgb_raw -> /zed/rgb: the namespace whose sibling it is, or itself."""
    for end in _SIBLINGS:
        camera = camera.removesuffix(end)
    return camera


def rank(name: str) -> tuple[int, int, str]:
    """Of several images of one camera the least is meant: raw before rectified and compressed."""
    last = familiar(name).rpartition("/")[2]
    place = _NAMES.index(last) if last in _NAMES else len(_NAMES)
    return place, int(base(name) != name), name


def says_depth(name: str) -> bool:
    """Whether a word of the name is of depth."""
    found = words(base(name))
    return any(word.startswith("depth") and word != "depthai" for word in found)


def words(name: str) -> set[str]:
    """The words of a name, without the numbers behind them: infra1 is infra."""
    return {word.rstrip("0123456789") for word in re.split(r"[/_.\-]+", name.lower()) if word}
