"""Where the camera was in the world, as tf tells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ppd_core.bag.transforms import TransformTree
from ppd_core.types import AlignmentError
from ppd_core.view.frame import ViewFrame

_REMEMBERED = 200
"""Places that are still looked for."""


class Places:
    """Where the camera was in the world: tf may come after the image.

    Args:
        world_frame: frame that is the world; "": the topmost above the camera's.
    """

    def __init__(self, world_frame: str = "") -> None:
        self._world_frame = world_frame
        self._tree = TransformTree()
        self._wanted: OrderedDict[int, tuple[int, str]] = OrderedDict()

    def add(self, message: Any, *, is_static: bool) -> None:
        """Take a TFMessage."""
        self._tree.add_message(message, is_static=is_static)

    def want(self, index: int, at_ns: int, frame_id: str) -> None:
        """Look for the place of a frame's camera, from now on."""
        self._wanted[at_ns] = index, frame_id
        while len(self._wanted) > _REMEMBERED:
            self._wanted.popitem(last=False)

    def found(self) -> Iterator[ViewFrame]:
        """The places that were wanted and have become known, each once."""
        for at_ns, (index, frame_id) in list(self._wanted.items()):
            place = self.find(frame_id, at_ns)
            if place is not None:
                del self._wanted[at_ns]
                yield ViewFrame(index, at_ns, world_from_camera=place)

    def find(self, frame_id: str, at_ns: int) -> np.ndarray | None:
        """(4, 4) float64 that takes points of a frame to the world's; None while not known."""
        frame_id = frame_id.lstrip("/")
        world = self._world_frame or self._tree.top(frame_id)
        if world == frame_id:
            return None
        try:
            return self._tree.lookup(world, frame_id, at_ns)
        except AlignmentError:
            return None
