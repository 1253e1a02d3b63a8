"""The names of one camera's topics, as the node asks for them before any remapping."""

from __future__ import annotations

from dataclasses import dataclass

LIDAR = "lidar_in"
"""One scanner for all cameras."""


@dataclass(frozen=True)
class CameraTopics:
    """What a camera's topics are called.

    Args:
        name: of the camera, or "" where there is one alone.
    """

    name: str

    @property
    def image(self) -> str:
        """Of the colour images; compressed ones have `/compressed` after it, remapped or not."""
        return self.relative("image")

    @property
    def camera_info(self) -> str:
        """Of their calibration."""
        return self.relative("camera_info")

    @property
    def depth_in(self) -> str:
        """Of the depth images that are registered to them."""
        return self.relative("depth_in")

    @property
    def depth_camera_info(self) -> str:
        """Of the depth images' own calibration, where it is another."""
        return self.relative("depth_camera_info")

    def private(self, topic: str) -> str:
        """An output or a service of the node that is about this camera."""
        return f"~/{self.relative(topic)}"

    def relative(self, topic: str) -> str:
        """A topic in the node's namespace that is about this camera."""
        return f"{self.name}/{topic}" if self.name else topic
