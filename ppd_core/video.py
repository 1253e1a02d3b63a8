"""The frames of a video file, upright, and when each is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ppd_core.pyav import import_av

_USUAL_RATE_HZ = 30.0
_COMPLETE = 0.9  # containers announce more than they hold, but not by this much
_UNKNOWN_COLORS = 2  # AVCOL_SPC_UNSPECIFIED
_HD_ROWS = 720
"""Of untagged videos, those of so many rows have the colours of BT.709, as players take it."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        ticks: when it is shown, in units of `Video.time_base` from `Video.start_s`; more than
            that of the frame before.
        duration_ticks: for how long, as far as the file says, else one usual frame.
        stamp_s: `ticks` in seconds.
    """

    image: np.ndarray
    ticks: int
    duration_ticks: int
    stamp_s: float


class Video:
    """A video file whose frames are decoded one at a time, as often as it is iterated.

    Iterating gives `VideoFrame`s, turned and mirrored as the file says, in the order in which they
    are shown. What is damaged is left out. After the last frame that can be decoded it raises
    ValueError if the file announced to be much longer, or much of it could not be decoded.

    Args:
        path: any container and codec that FFmpeg knows; of several video streams the best.

    Attributes:
        frame_count: as announced by the container, None if it does not say.
        rate_hz: frames a second on the average, as announced; 30 if it does not say.
        time_base: seconds a tick.
        start_s: the time of the file's first sound or picture, on the file's own clock; times
            are counted from it.
        pixel_aspect: width of a pixel of the upright image by its height.

    Raises:
        ValueError: in one sentence, why there is nothing to decode; or PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"{path} must be a video file, but there is none of that name")
        self._av = import_av()
        try:
            with self._av.open(str(self.path)) as container:
                stream = container.streams.best("video")
                if stream is None:
                    raise self._unreadable()
                self.time_base: Fraction = stream.time_base
                self.start_s = (container.start_time or 0) / self._av.time_base
                self.rate_hz = float(stream.average_rate or stream.base_rate or _USUAL_RATE_HZ)
                self.frame_count = _announced(stream, container.duration, self._av.time_base)
                first = next(_Decoding(self._av, container, stream).frames(), None)
                aspect = stream.sample_aspect_ratio
        except self._av.FFmpegError as error:
            raise self._unreadable() from error
        if first is None:
            raise self._unreadable()
        is_on_its_side = _is_on_its_side(_display_matrix(first))
        aspect = aspect or Fraction(1)
        self.pixel_aspect: Fraction = 1 / aspect if is_on_its_side else aspect

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in order."""
        last = None
        with self._av.open(str(self.path)) as container:
            stream = container.streams.best("video")
            stream.thread_type = "AUTO"
            decoding = _Decoding(self._av, container, stream)
            for frame in decoding.frames():
                last = self._frame(frame, last)
                yield last
            problem = decoding.problem()
        if problem is not None:
            raise ValueError(f"{self.path} {problem}")

    def _frame(self, frame: Any, last: VideoFrame | None) -> VideoFrame:
        usual = max(1, round(1 / (self.rate_hz * self.time_base)))
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            ticks = stamp - round(Fraction(self.start_s) / self.time_base)
        else:
            ticks = 0 if last is None else last.ticks + usual
        if last is not None:
            # Of a damaged file times may stand still, and neither players nor ties can use that.
            ticks = max(ticks, last.ticks + 1)
        duration = getattr(frame, "duration", None) or usual
        image = upright(_rgb(frame), _display_matrix(frame))
        return VideoFrame(image, ticks, duration, float(ticks * self.time_base))

    def _unreadable(self) -> ValueError:
        return ValueError(
            f"{self.path} must be a video that FFmpeg can decode, got no readable frame"
        )


def upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn and mirror a picture as a display matrix says.

    Args:
        image: (H, W, 3).
        matrix: (2, 2), where x right and y down of the stored picture go. What is no quarter turn
            leaves the picture as it is stored.

    Returns:
        (H, W, 3) or (W, H, 3), contiguous.

    Source: ISO/IEC 14496-12, the matrix of a track header.
    """
    (x_to_x, x_to_y), (y_to_x, y_to_y) = np.sign(np.round(matrix)).astype(int)
    if _is_on_its_side(matrix):
        image = image.swapaxes(0, 1)
        columns, rows = y_to_x, x_to_y
    else:
        columns, rows = x_to_x, y_to_y
    return np.ascontiguousarray(image[:: rows or 1, :: columns or 1])


def _is_on_its_side(matrix: np.ndarray) -> bool:
    return bool(abs(matrix[0, 1]) > 0.5 and abs(matrix[1, 0]) > 0.5)


def _display_matrix(frame: Any) -> np.ndarray:
    data = next((one for one in frame.side_data if one.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return np.eye(2)
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] / 65536


def _rgb(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded frame of any format."""
    is_untagged_hd = frame.colorspace == _UNKNOWN_COLORS and frame.height >= _HD_ROWS
    options = {"src_colorspace": "ITU709"} if is_untagged_hd else {}
    return frame.to_ndarray(format="rgb24", **options)


@dataclass(eq=False)
class _Decoding:
    """The packets of a file on their way through the decoder, and how far they came."""

    av: Any
    container: Any
    stream: Any
    num_packets: int = 0
    num_damaged: int = 0
    end_s: Fraction = Fraction(0)

    def frames(self) -> Iterator[Any]:
        """The frames that can be decoded."""
        # Of all streams: what a file says of its length is that of the longest.
        packets = self.container.demux()
        while (packet := self._next(packets)) is not None:
            if packet.pts is not None:
                end_s = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.end_s = max(self.end_s, end_s)
            if packet.stream_index != self.stream.index:
                continue
            self.num_packets += 1
            try:
                decoded = packet.decode()
            except self.av.FFmpegError:
                self.num_damaged += 1
                continue
            yield from decoded

    def problem(self) -> str | None:
        """What is to be said of the file when all is decoded: the rest of a sentence, or None."""
        if self.container.duration is not None:
            ticks_a_second = self.av.time_base
            wanted_s = Fraction(self.container.duration, ticks_a_second)
            reached_s = self.end_s - Fraction(self.container.start_time or 0, ticks_a_second)
            if reached_s < _COMPLETE * wanted_s:
                return (
                    f"must last {float(wanted_s):.4g} s as it says, got {float(reached_s):.4g} s: "
                    "it is truncated or damaged"
                )
        if self.num_damaged > (1 - _COMPLETE) * self.num_packets:
            return (
                f"must be undamaged, got {self.num_damaged} of {self.num_packets} frames that "
                "cannot be decoded"
            )
        return None

    def _next(self, packets: Iterator[Any]) -> Any:
        try:
            return next(packets, None)
        except self.av.FFmpegError:
            return None  # `problem` knows whether that was the end.


def _announced(stream: Any, duration: int | None, ticks_a_second: int) -> int | None:
    """How many frames the file says it has, None if it does not."""
    counts = [stream.frames] if stream.frames > 0 else []
    seconds = None
    if stream.duration is not None:
        seconds = stream.duration * stream.time_base
    elif duration is not None:
        seconds = Fraction(duration, ticks_a_second)
    if seconds and stream.average_rate:
        counts.append(round(seconds * stream.average_rate))
    # The less of the two: a phone that trims a clip leaves what was cut off in the file.
    return min(counts, default=None)
