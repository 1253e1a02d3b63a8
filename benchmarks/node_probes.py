"""Clocks inside the node's process: put around rclpy's and the node's own methods from outside."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from node_topics import stamp_ns
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from ppd_core.frame_statistics import FrameStatistics
from ppd_ros.worker import THREAD_PREFIX, Worker

TAKES = ("subscription", "timer", "service", "client", "guard_condition", "waitable")
COOL_DOWN = 2
"""Frames after the last that is measured: the end of the process is not to cut off that one."""


@dataclass
class Received:
    """An image as it came through the executor; seconds, and a time by `time.perf_counter`.

    Attributes:
        take_s, callback_s: how long take and callback lasted.
        done_at_s: when the callback returned.
        age_s: from its stamp to that moment.
    """

    take_s: float
    callback_s: float
    done_at_s: float
    age_s: float


@dataclass
class Worked:
    """A frame as the worker's thread dealt with it.

    Attributes:
        stamp_ns: of the image, as found on what was published of it.
        begin_at_s: when the worker had the frame, by `time.perf_counter`.
        work_s: from there to the return of the last publish, without the networks' time.
        network_s: that time.
        age_s: topic -> stamp to return of publish, by the clock of the stamps.
        publish_s: topic -> how long the call of publish lasted.
        stages_s: what the node itself has measured.
    """

    stamp_ns: int = 0
    begin_at_s: float = 0.0
    work_s: float = 0.0
    network_s: float = 0.0
    age_s: dict[str, float] = field(default_factory=dict)
    publish_s: dict[str, float] = field(default_factory=dict)
    stages_s: dict[str, float] = field(default_factory=dict)


class Probes:
    """Measures a number of frames of which all outputs were published.

    Args:
        topics: the outputs.
        warm_up: how many frames come before the first that counts.
        frames: how many count.
        network_s: seconds spent in place of the networks so far.
        is_timing: keep times; else memory and what is open alone, and no memory of its own.
    """

    def __init__(
        self,
        topics: Collection[str],
        warm_up: int,
        frames: int,
        network_s: Callable[[], float],
        *,
        is_timing: bool,
    ) -> None:
        self._topics = set(topics)
        self._warm_up = warm_up
        self._frames = frames
        self._network_s = network_s
        self._is_timing = is_timing
        self._num_whole = 0
        self._take_s = 0.0
        self._stamp_ns: int | None = None
        self._received: dict[int, Received] = {}
        self._worked: list[Worked] = []
        self._now = Worked()
        self._published_at_s = 0.0
        self._callbacks_s: dict[str, list[float]] = {kind: [] for kind in TAKES}
        self._rss_mb = np.full(frames, np.nan)
        self._resources: list[dict[str, int]] = []

    def install(self) -> None:
        """Put the clocks in place, for the rest of the process."""
        for kind in TAKES:
            self._around_take(kind)
        self._around_create_subscription()
        self._around_publish()
        self._around_job()
        self._around_record()

    def is_done(self) -> bool:
        """Whether all frames were measured."""
        return self._num_whole >= self._warm_up + self._frames + COOL_DOWN

    def measurements(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "received": {stamp: asdict(one) for stamp, one in self._received.items()},
            "worked": [asdict(one) for one in self._worked],
            "callbacks_s": self._callbacks_s,
            "rss_mb": self._rss_mb.tolist(),
            "resources": self._resources,
        }

    @property
    def _is_measuring(self) -> bool:
        return self._warm_up <= self._num_whole < self._warm_up + self._frames

    def _around_take(self, kind: str) -> None:
        take = getattr(Executor, f"_take_{kind}")

        def timed_take(executor: Executor, entity: Any) -> Any:
            begin_s = time.perf_counter()
            call = take(executor, entity)
            self._take_s = time.perf_counter() - begin_s
            return None if call is None else self._timed_callback(kind, call)

        setattr(Executor, f"_take_{kind}", timed_take)

    def _timed_callback(self, kind: str, call: Callable[[], Any]) -> Callable[[], Any]:
        take_s = self._take_s

        async def timed() -> None:
            self._stamp_ns = None
            begin_s = time.perf_counter()
            try:
                await call()
            finally:
                if self._is_timing:
                    self._note_callback(kind, take_s, begin_s)

        return timed

    def _note_callback(self, kind: str, take_s: float, begin_s: float) -> None:
        end_s = time.perf_counter()
        if (stamp := self._stamp_ns) is not None:
            age_s = (time.time_ns() - stamp) / 1e9
            self._received[stamp] = Received(take_s, end_s - begin_s, end_s, age_s)
        if self._is_measuring:
            self._callbacks_s[kind].append(end_s - begin_s)

    def _around_create_subscription(self) -> None:
        create = Node.create_subscription

        def create_noted(node: Node, message_type: Any, topic: str, callback: Any, *rest, **more):
            def noted(message: Any) -> Any:
                self._stamp_ns = stamp_ns(message.header)
                return callback(message)

            is_image = message_type is Image
            return create(
                node, message_type, topic, noted if is_image else callback, *rest, **more
            )

        Node.create_subscription = create_noted

    def _around_publish(self) -> None:
        publish = Publisher.publish

        def timed_publish(publisher: Publisher, message: Any) -> None:
            begin_s = time.perf_counter()
            publish(publisher, message)
            end_s = time.perf_counter()
            if threading.current_thread().name.startswith(THREAD_PREFIX):
                topic, now = publisher.topic_name, self._now
                now.stamp_ns = stamp_ns(message.header)
                now.age_s[topic] = (time.time_ns() - now.stamp_ns) / 1e9
                now.publish_s[topic] = end_s - begin_s
                self._published_at_s = end_s

        Publisher.publish = timed_publish

    def _around_job(self) -> None:
        construct = Worker.__init__

        def construct_timed(worker: Worker, job: Callable[[Any], None], *rest, **more) -> None:
            def timed_job(frame: Any) -> None:
                self._now = Worked(begin_at_s=time.perf_counter(), network_s=-self._network_s())
                job(frame)
                self._note_frame()

            construct(worker, timed_job, *rest, **more)

        Worker.__init__ = construct_timed

    def _around_record(self) -> None:
        record = FrameStatistics.record

        def record_noted(statistics: FrameStatistics, durations_s: dict[str, float]) -> None:
            self._now.stages_s = dict(durations_s)
            record(statistics, durations_s)

        FrameStatistics.record = record_noted

    def _note_frame(self) -> None:
        now = self._now
        if not self._topics <= set(now.publish_s):
            return  # Not all subscriptions were found yet.
        now.network_s += self._network_s()
        now.work_s = self._published_at_s - now.begin_at_s - now.network_s
        if self._is_measuring:
            self._rss_mb[self._num_whole - self._warm_up] = resident_mb()
            if self._is_timing:
                self._worked.append(now)
        self._num_whole += 1
        if self._num_whole in (self._warm_up, self._warm_up + self._frames):
            self._resources.append(open_resources())


def resident_mb() -> float:
    """The memory of this process that is in RAM, in units of 10^6 bytes."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_resources() -> dict[str, int]:
    """How many threads and file descriptors this process has."""
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
