"""A camera that shows photos: the ones that come in scikit-image's wheel, one after the other."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import rgb_to_image
from ppd_ros.process import leave, run_node

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle_left")
FRAME_SUFFIX = "_optical_frame"
HORIZONTAL_FOV_DEG = 55.0
"""Assumed: the photos do not tell which lens took them."""


def photo_paths() -> dict[str, Path]:
    """Name -> file of the photos of `PHOTOS` that this machine has; nothing is downloaded.

    Raises:
        ValueError: scikit-image is not installed, or its wheel holds none of them.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ValueError(
            "the photos come in the wheel of scikit-image, which is not installed: "
            "pip install scikit-image"
        )
    folder = Path(spec.origin).parent / "data"
    found = {}
    for name in PHOTOS:
        for path in (folder / f"{name}.png", folder / f"{name}.jpg"):
            if path.is_file():
                found[name] = path
    if not found:
        raise ValueError(f"none of the photos {', '.join(PHOTOS)} is in {folder}")
    return found


class PhotoPublisher(Node):
    """Publishes `camera/image` and `camera/camera_info` like a camera at a fixed rate.

    Each photo is a camera of its own, with the frame id NAME_optical_frame.

    Args:
        names: which photos, shown in this order again and again.
        rate_hz: frames a second.
        hold_s: how long a photo is shown before the next one.
        node_options: of `rclpy.node.Node`.
    """

    def __init__(
        self, names: Sequence[str], *, rate_hz: float, hold_s: float, **node_options: Any
    ) -> None:
        super().__init__("photo_publisher", **node_options)
        paths = photo_paths()
        self._photos = []
        for name in names:
            rgb = read_image(paths[name])
            intrinsics = Intrinsics.from_fov(rgb.shape[1], rgb.shape[0], HORIZONTAL_FOV_DEG)
            header = Header(frame_id=name + FRAME_SUFFIX)
            info = intrinsics_to_info(intrinsics, header)
            self._photos.append((rgb_to_image(rgb, header), info))
        self._frames_each = max(1, round(rate_hz * hold_s))
        self._count = 0
        self._image_out = self.create_publisher(Image, "camera/image", 1)
        self._info_out = self.create_publisher(CameraInfo, "camera/camera_info", 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / rate_hz, self._send, clock=steady)

    def close(self) -> None:
        """Say how much was sent."""
        self.get_logger().info(f"{self._count} frames sent")

    def _send(self) -> None:
        image, info = self._photos[self._count // self._frames_each % len(self._photos)]
        # Image and info share the header.
        image.header.stamp = self.get_clock().now().to_msg()
        self._info_out.publish(info)
        self._image_out.publish(image)
        self._count += 1


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Publish photos until SIGINT or SIGTERM, and end the process: status 0 after either."""
    args = sys.argv if args is None else ["photo_publisher", *args]
    parser = argparse.ArgumentParser(prog="photo_publisher", description=__doc__)
    parser.add_argument("--photos", nargs="+", default=None, choices=PHOTOS, metavar="NAME")
    parser.add_argument("--rate-hz", type=float, default=5.0)
    parser.add_argument("--hold-s", type=float, default=2.0)
    options = parser.parse_args(remove_ros_args(args)[1:])

    def make_node(is_ending: object) -> PhotoPublisher:
        names = options.photos or list(photo_paths())
        return PhotoPublisher(names, rate_hz=options.rate_hz, hold_s=options.hold_s)

    leave(run_node(make_node, args))


if __name__ == "__main__":
    main()
