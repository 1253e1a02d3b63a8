"""A recording as a set to measure on: a depth topic is the truth of the images beside it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppd_core.bag.messages import (
    message_to_depth,
    message_to_intrinsics,
    message_to_rgb,
    stamp_ns,
)
from ppd_core.bag.reader import BagReader
from ppd_core.bag.topics import find_calibration
from ppd_core.camera_info import rectified_info, shows_rectified, taken_as_rectified
from ppd_core.data.eval_samples import EvalSample, SampleError

FAR_M = 80.0
"""Truth from there on does not count."""


@dataclass(frozen=True)
class Pairing:
    """Which message of another topic belongs to each of one's.

    Attributes:
        indices: of the other topic; None where none is near enough.
        exact, nearest, missing: how many have the very stamp, one near it, none.
    """

    indices: Sequence[int | None]
    exact: int
    nearest: int
    missing: int

    def describe(self, topic: str, tolerance_s: float) -> str:
        """A sentence on it."""
        return (
            f"Paired with {topic}: {self.exact} by equal stamps, {self.nearest} by the nearest "
            f"within {tolerance_s:g} s, {self.missing} without one."
        )


def pair(stamps_ns: Sequence[int], others_ns: Sequence[int], tolerance_s: float) -> Pairing:
    """Pair stamps with the equal ones, else with the nearest ones.

    Args:
        stamps_ns: of which each is paired.
        others_ns: which they are paired with; each may be taken several times.
        tolerance_s: how far apart a pair may be, >= 0.

    Raises:
        ValueError: the tolerance is negative or not a number.
    """
    if not tolerance_s >= 0:
        raise ValueError(f"tolerance must be >= 0 s, got {tolerance_s}")
    order = sorted(range(len(others_ns)), key=others_ns.__getitem__)
    times = [others_ns[index] for index in order]
    indices: list[int | None] = []
    exact = nearest = 0
    for stamp in stamps_ns:
        place = bisect_left(times, stamp)
        around = [one for one in (place - 1, place) if 0 <= one < len(times)]
        best = min(around, key=lambda one: abs(times[one] - stamp), default=None)
        if best is None or abs(times[best] - stamp) > tolerance_s * 1e9:
            indices.append(None)
            continue
        indices.append(order[best])
        exact += times[best] == stamp
        nearest += times[best] != stamp
    return Pairing(indices, exact, nearest, len(indices) - exact - nearest)


@dataclass(frozen=True, eq=False)
class _Topic:
    """What is known of a topic's messages without keeping them."""

    name: str
    stamps_ns: list[int]
    received_ns: list[int]


class BagSet:
    """Each depth image with the image, calibration and estimate that belong to it; an `EvalSet`.

    A depth image without an image is a sample that cannot be read, so that it is counted.

    Attributes:
        notes: how the messages were paired, for whoever reads the figures.
    """

    name, licence, page = "bag", "your own", ""

    def __init__(
        self,
        path: Path,
        topics: Mapping[str, _Topic],
        info: Any,
        tolerance_s: float,
    ) -> None:
        self.split = f"{path.name} against {topics['depth'].name}"
        self._path, self._topics, self._info = path, topics, info
        self._pairings = {
            role: pair(topics["depth"].stamps_ns, topic.stamps_ns, tolerance_s)
            for role, topic in topics.items()
            if role != "depth"
        }
        self.notes = [
            pairing.describe(topics[role].name, tolerance_s)
            for role, pairing in self._pairings.items()
        ]
        if info is not None and shows_rectified("auto", topics["image"].name):
            self.notes.append(f"{taken_as_rectified(topics['image'].name, 'its calibration')}.")
            self._info = rectified_info(info)
        if info is None:
            image = topics["image"].name
            self.notes.append(f"No calibration belongs to {image}: no clouds are measured.")

    def __len__(self) -> int:
        return len(self._topics["depth"].stamps_ns)

    def names(self) -> Sequence[str]:
        """Stamps of the depth images in seconds; of equal ones, the later with a number."""
        seen: dict[int, int] = {}
        names = []
        for stamp in self._topics["depth"].stamps_ns:
            seen[stamp] = seen.get(stamp, 0) + 1
            again = f"-{seen[stamp]}" if seen[stamp] > 1 else ""
            names.append(f"{stamp // 10**9}.{stamp % 10**9:09}{again}")
        return names

    def __getitem__(self, index: int) -> EvalSample:
        """Read one.

        Raises:
            IndexError: there is no such sample.
            SampleError: it has no image, or a message cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples, got index {index}")
        name = self.names()[index]
        try:
            with BagReader(self._path) as reader:
                return self._read(reader, name, index)
        except (ValueError, OSError) as error:
            raise SampleError(f"{self._path}, depth image {name}: {error}") from error

    def _read(self, reader: BagReader, name: str, index: int) -> EvalSample:
        partner = self._pairings["image"].indices[index]
        if partner is None:
            raise ValueError(f"no image of {self._topics['image'].name} belongs to it")
        depth = message_to_depth(self._message(reader, "depth", index))
        image = message_to_rgb(self._message(reader, "image", partner))
        height, width = image.shape[:2]
        camera = None
        if self._info is not None:
            camera = message_to_intrinsics(self._info, width, height)
        estimate = None
        if "estimate" in self._pairings:
            partner = self._pairings["estimate"].indices[index]
            if partner is not None:
                estimate = message_to_depth(self._message(reader, "estimate", partner))
        # Not by make_eval_sample: other sizes are told of by what measures, in its own words.
        valid_mask = np.isfinite(depth) & (depth < FAR_M)
        return EvalSample(name, image, depth, valid_mask, camera, estimate)

    def _message(self, reader: BagReader, role: str, index: int) -> Any:
        topic = self._topics[role]
        received = topic.received_ns[index]
        for recorded in reader.messages([topic.name], begin_ns=received, end_ns=received):
            message = reader.deserialize(recorded)
            if stamp_ns(message) == topic.stamps_ns[index]:
                return message
        raise ValueError(f"a message of {topic.name} is no longer there")


def open_bag(
    path: Path,
    image_topic: str,
    depth_topic: str,
    *,
    info_topic: str | None = None,
    estimate_topic: str | None = None,
    tolerance_s: float = 0.02,
) -> BagSet:
    """List and pair the messages of a recording; they are read when they are asked for.

    The depth must be registered to the image: same camera, same size.

    Args:
        path: a rosbag2 folder, a .mcap, .db3 or a ROS 1 .bag file.
        image_topic: of Image or CompressedImage.
        depth_topic: of Image, 16UC1 in millimetres or 32FC1 in metres, or its compressedDepth;
            what counts as the truth.
        info_topic: of CameraInfo; default `camera_info` beside the image, if it was recorded.
        estimate_topic: another depth topic, which becomes the samples' `sensor_depth`.
        tolerance_s: see `pair`.

    Raises:
        ValueError: the recording cannot be read, or lacks a topic; the message lists those it has.
        ImportError: rosbags is not installed.
    """
    wanted = {"depth": depth_topic, "image": image_topic}
    if estimate_topic is not None:
        wanted["estimate"] = estimate_topic
    with BagReader(path) as reader:
        found = reader.topics
        needed = [*wanted.values(), *([info_topic] if info_topic else [])]
        for name in needed:
            if name not in found:
                raise ValueError(f"{path} has no topic {name}; it has {', '.join(sorted(found))}")
        topics = {role: _list(reader, name) for role, name in wanted.items()}
        info_name = info_topic or find_calibration(found, image_topic)
        info = None if info_name is None else _first(reader, info_name)
        bag = BagSet(path, topics, info, tolerance_s)
        bag.notes += [f"Damaged: {gap.describe()}" for gap in reader.gaps]
    return bag


def _list(reader: BagReader, name: str) -> _Topic:
    topic = _Topic(name, [], [])
    for recorded in reader.messages([name]):
        message = reader.deserialize(recorded)
        if not hasattr(message, "header"):
            raise ValueError(f"{name} must be of images, got {recorded.msgtype}")
        topic.stamps_ns.append(stamp_ns(message))
        topic.received_ns.append(recorded.log_ns)
    return topic


def _first(reader: BagReader, name: str) -> Any:
    for recorded in reader.messages([name]):
        return reader.deserialize(recorded)
    return None
