"""Messages, one after the other, into what a viewer shows of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np

from ppd_core.bag.messages import (
    message_to_depth,
    message_to_intrinsics,
    message_to_rgb,
    stamp_ns,
)
from ppd_core.camera_info import rectified_info
from ppd_core.depth_reading import in_unit
from ppd_core.types import Intrinsics
from ppd_core.view.frame import ViewFrame
from ppd_core.view.messages import (
    alignment_of_message,
    cloud_of_message,
    health_of_message,
)
from ppd_core.view.places import Places

_MAX_LATENCY_NS = 60 * 10**9
"""A message that arrives later was stamped by another clock."""
_REMEMBERED = 200
"""Stamps whose frame number is known."""
_IMAGES = 20
"""Images that wait for their depth, which colours a cloud that nobody sends."""


class Role(Enum):
    """What a message is to the viewer."""

    IMAGE = "image"
    INFO = "camera_info"
    DEPTH = "depth"
    SENSOR = "depth_in"
    CONFIDENCE = "depth/confidence"
    POINTS = "points"
    ALIGNMENT = "alignment"
    DIAGNOSTICS = "diagnostics"
    TF = "tf"
    TF_STATIC = "tf_static"


class Assembler:
    """Makes of each message what is new to the viewer; keeps no more than that needs.

    Args:
        roles: of all messages that may come.
        world_frame: of `Places`.
        is_rectified: the images are, so that of their calibration P alone counts.
        depth_unit_m: of `ppd_core.alignment.config.AlignmentConfig`, of the sensor's depth.
    """

    def __init__(
        self,
        roles: set[Role],
        *,
        world_frame: str = "",
        is_rectified: bool = False,
        depth_unit_m: float = 0.0,
    ) -> None:
        self._is_rectified, self._depth_unit_m = is_rectified, depth_unit_m
        self._is_lifting = Role.POINTS not in roles
        self._places = Places(world_frame)
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._count = 0
        self._info: Any = None
        self._images: OrderedDict[int, np.ndarray] = OrderedDict()
        self._is_metric = True

    def take(self, role: Role, message: Any, arrived_ns: int | None = None) -> Iterator[ViewFrame]:
        """Show a message.

        Args:
            role: what it is.
            message: with the attributes of its ROS 2 type.
            arrived_ns: when it came, on the clock of the stamps.

        Raises:
            ValueError: it cannot be read.
        """
        if role in (Role.TF, Role.TF_STATIC):
            self._places.add(message, is_static=role is Role.TF_STATIC)
            yield from self._places.found()
            return
        if role is Role.INFO:
            self._info = rectified_info(message) if self._is_rectified else message
            return
        at_ns = stamp_ns(message)
        if role is Role.DIAGNOSTICS:
            yield from self._health(message, at_ns)
            return
        values = self._values(role, message, at_ns)
        if arrived_ns is not None and 0 <= arrived_ns - at_ns < _MAX_LATENCY_NS:
            values["latencies_ms"] = {f"{role.value} after stamp": (arrived_ns - at_ns) / 1e6}
        yield ViewFrame(self._number(at_ns), at_ns, is_lifted=self._is_lifting, **values)
        if role in (Role.DEPTH, Role.POINTS):
            self._places.want(self._number(at_ns), at_ns, message.header.frame_id)
            yield from self._places.found()

    def _values(self, role: Role, message: Any, at_ns: int) -> dict[str, Any]:
        """What is new, by the fields of `ViewFrame`."""
        if role is Role.IMAGE:
            image = message_to_rgb(message)
            if self._is_lifting:
                self._images[at_ns] = image
                _shorten(self._images, _IMAGES)
            return {"image": image, "intrinsics": self._camera(image)}
        if role is Role.DEPTH:
            depth = message_to_depth(message, keeps_floats=True)
            colors = self._images.get(at_ns)
            camera = self._camera(depth)
            is_metric = self._is_metric
            return {"depth": depth, "intrinsics": camera, "colors": colors, "is_metric": is_metric}
        if role is Role.CONFIDENCE:
            return {"confidence": message_to_depth(message, keeps_floats=True)}
        if role is Role.SENSOR:
            metres = in_unit(message_to_depth(message), message, self._depth_unit_m)
            return {"sensor_depth": metres}
        if role is Role.POINTS:
            points, colors = cloud_of_message(message)
            return {"points": points, "colors": colors}
        alignment = alignment_of_message(message)
        self._is_metric = alignment.state != "none"
        return {"alignment": alignment}

    def _health(self, message: Any, at_ns: int) -> Iterator[ViewFrame]:
        health = health_of_message(message)
        if health.alignment is None and not health.latencies_ms:
            return
        if health.alignment is not None:
            self._is_metric = health.alignment.state != "none"
        yield ViewFrame(
            max(self._count - 1, 0),
            at_ns,
            alignment=health.alignment,
            latencies_ms=health.latencies_ms,
            notes=health.notes,
        )

    def _camera(self, image: np.ndarray) -> Intrinsics | None:
        height, width = image.shape[:2]
        return None if self._info is None else message_to_intrinsics(self._info, width, height)

    def _number(self, at_ns: int) -> int:
        """Of the frame of that stamp: all of its messages have it."""
        if at_ns not in self._numbers:
            self._numbers[at_ns] = self._count
            self._count += 1
            _shorten(self._numbers, _REMEMBERED)
        return self._numbers[at_ns]


def _shorten(kept: OrderedDict[int, Any], size: int) -> None:
    while len(kept) > size:
        kept.popitem(last=False)
