"""Where one frame was in another, from the transforms of a recording; the rules are tf2's.

Every frame hangs on one parent by an edge, which either stands still or is known at the stamps
that were recorded, and between them by interpolation. Nothing is made up before the first or
after the last of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppd_core.bag.messages import stamp_ns
from ppd_core.geometry.rigid import rigid_transform
from ppd_core.types import AlignmentError

HISTORY_S = 10.0
"""How long transforms are remembered, in the time of their stamps; tf2 has the same default."""
UNIT_TOLERANCE = 1e-2
"""By how much a recorded quaternion's length may be off, as in tf2; it is made 1."""
_MAX_DEPTH = 1000
"""A chain of so many frames runs in a circle."""


@dataclass(frozen=True)
class _Pose:
    """Of a child in its parent: what takes points from one to the other."""

    parent: str
    translation: np.ndarray
    quaternion: np.ndarray

    def matrix(self) -> np.ndarray:
        return rigid_transform(self.translation, self.quaternion)

    def towards(self, later: _Pose, part: float) -> _Pose:
        """The pose on the way to another: linear, and along the shortest arc."""
        if later.parent != self.parent:  # It was hung elsewhere: nothing lies between.
            return self
        step = later.translation - self.translation
        turned = slerp(self.quaternion, later.quaternion, part)
        return _Pose(self.parent, self.translation + part * step, turned)


@dataclass(eq=False)
class _Edge:
    """The poses of one child, by stamp; of one that stands still a single pose."""

    is_static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[_Pose] = field(default_factory=list)

    def add(self, stamp_ns: int, pose: _Pose, history_ns: int) -> None:
        if self.is_static:
            self.stamps_ns, self.poses = [stamp_ns], [pose]
            return
        if self.stamps_ns and stamp_ns < self.stamps_ns[-1] - history_ns:
            return
        place = bisect_left(self.stamps_ns, stamp_ns)
        if place < len(self.stamps_ns) and self.stamps_ns[place] == stamp_ns:
            return  # The first that was said of a moment stands.
        self.stamps_ns.insert(place, stamp_ns)
        self.poses.insert(place, pose)
        # One that is older stays: else the beginning of the history has no left neighbour.
        num_old = bisect_left(self.stamps_ns, self.stamps_ns[-1] - history_ns) - 1
        if num_old > 0:
            del self.stamps_ns[:num_old], self.poses[:num_old]

    def at(self, stamp_ns: int) -> _Pose | None:
        """The pose at a stamp; None before the first and after the last."""
        if self.is_static:
            return self.poses[0]
        place = bisect_left(self.stamps_ns, stamp_ns)
        if place == len(self.stamps_ns):
            return None
        later_ns = self.stamps_ns[place]
        if later_ns == stamp_ns:
            return self.poses[place]
        if place == 0:
            return None
        before_ns = self.stamps_ns[place - 1]
        part = (stamp_ns - before_ns) / (later_ns - before_ns)
        return self.poses[place - 1].towards(self.poses[place], part)


class TransformTree:
    """What /tf and /tf_static said, for as long as it is remembered.

    Args:
        history_s: how long before the newest stamp of an edge its poses are kept, > 0.

    Attributes:
        num_added: transforms that were taken.
        num_refused: transforms that are none: without a frame, of a frame to itself, with a
            rotation that is none or a value that is not finite.
    """

    def __init__(self, history_s: float = HISTORY_S) -> None:
        if not history_s > 0:
            raise ValueError(f"history_s must be > 0 s, got {history_s}")
        self.num_added = self.num_refused = 0
        self._history_ns = round(history_s * 1e9)
        self._edges: dict[str, _Edge] = {}

    def add(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: Sequence[float],
        quaternion: Sequence[float],
        *,
        is_static: bool = False,
    ) -> None:
        """Take one transform; what is none is counted and left out.

        Args:
            parent, child: frames; a slash before them, as ROS 1 has it, does not count.
            stamp_ns: when it held; of a static one without meaning.
            translation: x, y, z of the child in the parent, metres.
            quaternion: x, y, z, w of the child in the parent.
            is_static: holds always. A child stays what it was said to be first.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        place, turned = np.asarray(translation, float), np.asarray(quaternion, float)
        length = float(np.linalg.norm(turned))
        is_rigid = abs(length - 1) <= UNIT_TOLERANCE and bool(np.isfinite(place).all())
        if not (parent and child and parent != child and is_rigid):
            self.num_refused += 1
            return
        self.num_added += 1
        edge = self._edges.setdefault(child, _Edge(is_static))
        edge.add(stamp_ns, _Pose(parent, place, turned / length), self._history_ns)

    def add_message(self, message: Any, *, is_static: bool = False) -> None:
        """Take all transforms of a tf2_msgs/TFMessage."""
        for one in message.transforms:
            t, q = one.transform.translation, one.transform.rotation
            self.add(
                one.header.frame_id,
                one.child_frame_id,
                stamp_ns(one),
                (t.x, t.y, t.z),
                (q.x, q.y, q.z, q.w),
                is_static=is_static,
            )

    def newest_ns(self, child: str) -> int | None:
        """The latest stamp of a child that moves; None where there is none."""
        edge = self._edges.get(child.lstrip("/"))
        return None if edge is None or edge.is_static else edge.stamps_ns[-1]

    def top(self, frame: str) -> str:
        """The topmost frame above one, by the newest pose of each; itself where none is above."""
        frame = frame.lstrip("/")
        for _ in range(len(self._edges)):  # a circle has no top
            edge = self._edges.get(frame)
            if edge is None:
                break
            frame = edge.poses[-1].parent
        return frame

    def forget_moving(self) -> None:
        """Keep only what stands still: time begins anew."""
        self._edges = {child: edge for child, edge in self._edges.items() if edge.is_static}

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """Where a frame was in another at one moment.

        Returns:
            (4, 4) float64 that takes homogeneous points of `source` to `target`.

        Raises:
            AlignmentError: "no_transform": a frame is not known, the two hang on different trees,
                or a stamp lies outside what is known of an edge between them.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        if target == source:
            return np.eye(4)
        from_source, source_gap = self._ways_up(source, stamp_ns)
        from_target, target_gap = self._ways_up(target, stamp_ns)
        for frame, way in from_source.items():
            if frame in from_target:
                return np.linalg.inv(from_target[frame]) @ way
        why = source_gap or target_gap or "the two are not connected"
        unknown = [repr(one) for one in (source, target) if one not in self._frames()]
        if unknown:
            known = ", ".join(sorted(self._frames())) or "none"
            why = f"{' and '.join(unknown)} not among the frames of tf, which are: {known}"
        raise AlignmentError("no_transform", f"{source!r} to {target!r}: {why}")

    def lookup_over(
        self, target: str, target_ns: int, source: str, source_ns: int, fixed: str
    ) -> np.ndarray:
        """Where a frame of one moment was in another of another moment.

        Args:
            target, target_ns: frame to bring points to, and when.
            source, source_ns: frame of the points, and when they were measured.
            fixed: frame that stands still between the two, as "odom".

        Returns:
            (4, 4) float64, see `lookup`.

        Raises:
            AlignmentError: see `lookup`.
        """
        return self.lookup(target, fixed, target_ns) @ self.lookup(fixed, source, source_ns)

    def _ways_up(self, frame: str, stamp_ns: int) -> tuple[dict[str, np.ndarray], str]:
        """Frame -> what takes points there, from a frame up to its root; and what broke it off."""
        way = np.eye(4)
        ways = {frame: way}
        while (edge := self._edges.get(frame)) is not None and len(ways) < _MAX_DEPTH:
            pose = edge.at(stamp_ns)
            if pose is None:
                return ways, _outside(frame, edge, stamp_ns)
            way = pose.matrix() @ way
            frame = pose.parent
            if frame in ways:
                return ways, f"the frames above {frame!r} run in a circle"
            ways[frame] = way
        return ways, ""

    def _frames(self) -> set[str]:
        parents = {edge.poses[-1].parent for edge in self._edges.values()}
        return parents | self._edges.keys()


def slerp(first: np.ndarray, second: np.ndarray, part: float) -> np.ndarray:
    """The rotation on the shortest arc between two; q and -q are one and the same.

    Args:
        first, second: (4,) unit quaternions.
        part: 0 = the first, 1 = the second.

    Returns:
        (4,) of length 1.

    Source: Shoemake, Animating rotation with quaternion curves, 1985.
    """
    cosine = float(first @ second)
    if cosine < 0:
        second, cosine = -second, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:  # The sines would cancel; so near, the chord is the arc.
        mixed = (1 - part) * first + part * second
    else:
        mixed = np.sin((1 - part) * angle) * first + np.sin(part * angle) * second
    return mixed / np.linalg.norm(mixed)


def _outside(child: str, edge: _Edge, stamp_ns: int) -> str:
    first_ns, last_ns = edge.stamps_ns[0], edge.stamps_ns[-1]
    is_past = stamp_ns < first_ns
    off_s = (first_ns - stamp_ns if is_past else stamp_ns - last_ns) / 1e9
    return (
        f"{child!r} in {edge.poses[0].parent!r} is known from {first_ns / 1e9:.3f} to "
        f"{last_ns / 1e9:.3f} s, asked for {stamp_ns / 1e9:.3f} s: {off_s:.3g} s in the "
        f"{'past' if is_past else 'future'} of that"
    )
