"""The frames of a recording: each image with the calibration and the sensor message of its moment.

`recorded_frames` goes over the recording once. What belongs to an image is often recorded after
it, so a frame waits for it: in the time of the recording, and no longer than is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ppd_core.alignment.aligner import SENSORS
from ppd_core.alignment.sensors import offset_text, other_view
from ppd_core.bag.messages import checked_stamp_ns, stamp_ns
from ppd_core.bag.pairing_report import PairingReport
from ppd_core.bag.recorded_frame import RecordedFrame, RecordedFrameSettings
from ppd_core.bag.sensor_buffer import Kept, SensorBuffer, is_set_back
from ppd_core.camera_info import (
    rectified_info,
    shows_rectified,
    taken_as_rectified,
    unfilled_k,
)
from ppd_core.types import AlignmentError

if TYPE_CHECKING:
    from ppd_core.bag.recording import BagMessage, MessageSource
    from ppd_core.bag.static import StaticParts
    from ppd_core.bag.topics import ChosenTopics


__all__ = ["PairingReport", "RecordedFrame", "RecordedFrameSettings", "recorded_frames"]


def recorded_frames(
    reader: MessageSource,
    chosen: ChosenTopics,
    settings: RecordedFrameSettings | None = None,
    *,
    report: PairingReport | None = None,
    static: StaticParts | None = None,
) -> Iterator[RecordedFrame]:
    """All images of a recording in the order of the recording, each with what belongs to it.

    An image waits until a sensor message as late as itself was recorded, and the transform for
    it, and its calibration; or until the recording has gone on by `max_wait_s`; or its end.
    Memory holds the messages of about `2 * max_wait_s + max_slop_s` of the recording, and of
    those at most `max_bytes` and the one message that came last: then images are let go before
    their time, which `report` counts.

    Args:
        reader: an open `BagReader`, or one that is listened to.
        chosen: its topics.
        settings: default: no metres.
        report: is told what was paired and what was not, as frames are taken.
        static: from `read_static`: what is known from the first frame on, wherever in the
            recording it is.

    Yields:
        Every image once. One that is damaged has its `problem` told, or `rgb` raises; a frame
        without sensor message, transform or calibration is told by `evidence`.

    Raises:
        ValueError: the reader's own, for what is no recording at all.
    """
    settings = settings or RecordedFrameSettings()
    buffer = _FrameBuffer(reader, chosen, settings, report or PairingReport(), static)
    for message in reader.messages(chosen.names(settings.source)):
        yield from buffer.take(message)
    yield from buffer.release_all()


@dataclass(frozen=True, eq=False)
class _Waiting:
    frame: RecordedFrame
    num_bytes: int


class _FrameBuffer:
    """Takes messages in the order of the recording, and gives frames in that order.

    Args:
        reader: makes objects of messages; its counts say what may still come.
        chosen: the topics.
        settings: how frames are put together.
        report: is told.
        static: what is known beforehand.
    """

    def __init__(
        self,
        reader: MessageSource,
        chosen: ChosenTopics,
        settings: RecordedFrameSettings,
        report: PairingReport,
        static: StaticParts | None,
    ) -> None:
        self._reader, self._chosen, self._report = reader, chosen, report
        self._settings = settings
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._num_images = 0
        self._now_ns = 0
        self._last_image_ns: int | None = None
        self._infos: deque[Kept] = deque()
        self._sensor = SensorBuffer(settings)
        self._sensor_topic = chosen.sensor(settings.source)
        num_infos = self._count(chosen.camera_info)
        self._info_is_awaited = num_infos != 0
        self._info_is_stream = _is_stream(num_infos, self._count(chosen.image))
        self._keep_ns = round((settings.max_wait_s + settings.max_slop_s) * 1e9)
        self._depth_info: Any = None
        if static is not None:
            for message in static.transforms:
                self._sensor.add_transforms(message, is_static=True)
            self._depth_info = static.depth_info
            if static.info is not None:
                self._infos.append(Kept(static.info, stamp_ns(static.info), log_ns=0))

    def take(self, message: BagMessage) -> Iterator[RecordedFrame]:
        """Add one message; gives the frames that need not wait any longer."""
        if is_set_back(message.log_ns, self._now_ns):
            yield from self.release_all()
            self._sensor.begin_round()
            self._now_ns = message.log_ns
        self._now_ns = max(self._now_ns, message.log_ns)
        if message.topic == self._chosen.image:
            yield from self._take_image(message)
        elif (read := self._read(message)) is None:
            return
        elif message.topic == self._chosen.camera_info:
            self._infos.append(Kept(read, stamp_ns(read), message.log_ns))
        elif message.topic == self._sensor_topic:
            kept = Kept(read, stamp_ns(read), message.log_ns, len(message.data))
            yield from self._release_before(self._sensor.set_back_to_ns(kept))
            self._sensor.add(kept)
        else:
            is_static = message.topic in self._chosen.tf_static
            if not is_static:
                yield from self._release_before(self._sensor.tf_set_back_to_ns(read))
            self._sensor.add_transforms(read, is_static=is_static)
        while self._waiting and self._is_ready(self._waiting[0].frame):
            yield self._release()
        self._prune()
        yield from self._make_room()

    def release_all(self) -> Iterator[RecordedFrame]:
        """The frames that still wait, with what is there: nothing more comes for them."""
        while self._waiting:
            yield self._release()

    def _count(self, topic: str | None) -> int | None:
        known = None if topic is None else self._reader.topics.get(topic)
        return 0 if known is None else known.count

    def _read(self, message: BagMessage) -> Any:
        """The message as an object; None, and counted, where it is none."""
        try:
            return self._reader.deserialize(message)
        except ValueError:
            self._report.num_sensor_unreadable += 1
            return None

    def _take_image(self, message: BagMessage) -> Iterator[RecordedFrame]:
        frame = self._frame_of(message)
        num_bytes = 0
        if frame.image is not None:
            num_bytes = len(message.data)
            if is_set_back(frame.time_ns, self._last_image_ns):
                frame = replace(frame, is_restart=True)
                self._report.num_restarts += 1
                yield from self.release_all()
                self._sensor.begin_round()
            self._last_image_ns = frame.time_ns
        self._waiting.append(_Waiting(frame, num_bytes))
        self._waiting_bytes += num_bytes

    def _frame_of(self, message: BagMessage) -> RecordedFrame:
        """The image alone."""
        index = self._num_images
        self._num_images += 1
        self._report.num_frames += 1
        alone = RecordedFrame(index, message.topic, message.log_ns, 0, "", self._settings)
        try:
            image = self._reader.deserialize(message)
            stamp = checked_stamp_ns(image)
        except ValueError as error:
            self._report.num_unreadable += 1
            return replace(alone, problem=str(error) or "the message cannot be read")
        self._report.num_unstamped += not stamp
        if not image.header.frame_id:
            self._report.remark(f"{message.topic} has images without a frame_id: so are outputs.")
        return replace(alone, image=image, stamp_ns=stamp, frame_id=image.header.frame_id)

    def _release_before(self, time_ns: int | None) -> Iterator[RecordedFrame]:
        """The frames from before time was set back to `time_ns`, if it was."""
        while (
            time_ns is not None
            and self._waiting
            and is_set_back(time_ns, self._waiting[0].frame.time_ns)
        ):
            yield self._release()

    def _is_ready(self, frame: RecordedFrame) -> bool:
        """Whether all that may belong to a frame is there, or is not waited for any longer."""
        if frame.image is None or self._now_ns - frame.log_ns > self._settings.max_wait_s * 1e9:
            return True
        if self._info_is_awaited and not self._has_info(frame):
            return False
        return self._count(self._sensor_topic) == 0 or self._sensor.is_complete(frame)

    def _has_info(self, frame: RecordedFrame) -> bool:
        if not self._infos:
            return False
        return not (self._info_is_stream and self._infos[-1].is_behind(frame))

    def _release(self) -> RecordedFrame:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= waiting.num_bytes
        frame = waiting.frame
        if frame.image is None:
            return frame
        frame = replace(frame, info=self._of_image(self._info_of(frame)))
        self._report.num_no_camera += frame.info is None
        return self._with_sensor(frame) if self._settings.source in SENSORS else frame

    def _info_of(self, frame: RecordedFrame) -> Any:
        """The newest calibration at or before an image, else the first there is."""
        for kept in reversed(self._infos):
            if kept.stamp_ns <= frame.time_ns if kept.stamp_ns else kept.log_ns <= frame.log_ns:
                return kept.message
        return self._infos[0].message if self._infos else None

    def _of_image(self, info: Any) -> Any:
        """A calibration as it is of the images."""
        if info is None:
            return None
        image, topic = self._chosen.image, str(self._chosen.camera_info)
        if shows_rectified(self._settings.image_kind, image):
            if self._settings.image_kind == "auto":
                self._report.remark(taken_as_rectified(image, topic))
            return rectified_info(info)
        if oddity := unfilled_k(info):
            self._report.remark(f"{topic}: {oddity}.")
        return info

    def _with_sensor(self, frame: RecordedFrame) -> RecordedFrame:
        topic = self._sensor_topic or self._settings.source
        frame = replace(frame, sensor_topic=topic)
        nearest, kept = self._sensor.nearest(frame), self._sensor.paired(frame)
        offset_s = None if nearest is None else nearest.offset_s(frame)
        self._report.note_offset(offset_s, is_paired=kept is not None)
        if kept is None:
            what = f"{topic}: {offset_text(offset_s)}" if self._sensor_topic else "no such topic"
            detail = f"{what} (max_slop_s is {self._settings.max_slop_s:g})"
            return replace(frame, failure=AlignmentError("unpaired", detail))
        frame = replace(frame, sensor=kept.message, sensor_offset_s=offset_s)
        if self._settings.source == "depth":
            self._report.note_frames(frame)
            if told := other_view(topic, self._depth_info, frame.info):
                self._report.remark(f"{told}.")
            return replace(frame, sensor_info=self._depth_info)
        pose = self._sensor.pose(frame, kept)
        if isinstance(pose, AlignmentError):
            self._report.num_no_transform += 1
            return replace(frame, failure=pose)
        return replace(frame, camera_from_sensor=pose)

    def _prune(self) -> None:
        """Let go what no image that waits or may still come can need."""
        first_ns = self._waiting[0].frame.log_ns if self._waiting else self._now_ns
        oldest_ns = min(first_ns, self._now_ns) - self._keep_ns
        self._sensor.prune(oldest_ns)
        # The last one before stays: it is in force until the next.
        while len(self._infos) > 1 and self._infos[1].log_ns < oldest_ns:
            self._infos.popleft()

    def _make_room(self) -> Iterator[RecordedFrame]:
        while self._waiting_bytes + self._sensor.num_bytes > self._settings.max_bytes:
            if self._waiting:
                self._report.num_early += 1
                yield self._release()
                self._prune()
            elif len(self._sensor) > 1:
                self._sensor.drop_oldest()
            else:
                return


def _is_stream(num_infos: int | None, num_images: int | None) -> bool:
    """Whether a calibration comes with each image, not once and for all."""
    if num_infos is None or num_images is None:
        return True
    return 2 * num_infos >= num_images
