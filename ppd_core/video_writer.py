"""Pictures to an MP4 file, each shown at its exact time, with another video's sound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ppd_core.atomic_file import atomic_path
from ppd_core.pyav import import_av
from ppd_core.video import Video
from ppd_core.video_audio import AudioCopy

_X264 = "libx264"
# Without B-frames pictures are stored in the order in which they are shown, so that the end of
# one is known from the next, also at a variable rate.
# The preset costs a third of x264's usual one and no bytes more, measured on depth in colours.
_X264_OPTIONS = {"crf": "18", "bf": "0", "preset": "veryfast"}
_MPEG4_QUALITY = 3
_MPEG4_TIME_BASE = Fraction(1, 60_000)
_MPEG4_MAX_TICKS_A_SECOND = 65_535
_BT709 = 1
_VIDEO_RANGE = 1  # AVCOL_RANGE_MPEG: 16 .. 235


@dataclass(frozen=True)
class Timing:
    """How a video counts time and pixels.

    Args:
        time_base: seconds a tick.
        rate_hz: pictures a second, about; for those who show it.
        pixel_aspect: width of a pixel by its height.
    """

    time_base: Fraction
    rate_hz: float
    pixel_aspect: Fraction = Fraction(1)

    @classmethod
    def of(cls, video: Video) -> Timing:
        """That of a video's upright frames."""
        return cls(video.time_base, video.rate_hz, video.pixel_aspect)


class Mp4Writer:
    """A context in which pictures become an H.264 video; the file appears when it ends well.

    An exception, Ctrl-C too, leaves no file behind, and a former one as it was. Where this FFmpeg
    has no x264, the video is MPEG-4 Part 2, which is larger, and a sentence says so. Sides are
    made even by repeating the last row or column, for H.264 keeps colours of 2 x 2 pixels.

    Args:
        path: of the file to make or replace.
        timing: of the pictures to come.
        audio: sound to copy; the writer closes it.
        say: is given sentences about what differs from what was asked for.

    Raises:
        ValueError: the file cannot be written, PyAV is not installed; in a sentence.
    """

    def __init__(
        self,
        path: Path,
        timing: Timing,
        *,
        audio: AudioCopy | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._path, self._timing, self._audio, self._say = path, timing, audio, say
        self._av = import_av()
        self._time_base = timing.time_base
        self._stack = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, int] = (0, 0)
        self._starts: deque[int] = deque()
        self._packets: deque[Any] = deque()
        self._end_ticks = 0

    def __enter__(self) -> Mp4Writer:
        with ExitStack() as stack:  # Which closes the sound where the file cannot be made.
            if self._audio is not None:
                stack.callback(self._audio.close)
            self._unfinished = stack.enter_context(atomic_path(self._path))
            stack.push(self._close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, image: np.ndarray, ticks: int, end_ticks: int) -> None:
        """Add a picture.

        Args:
            image: (H, W, 3) uint8 RGB; one of another size than the first is brought to that.
            ticks: when it is shown, in the timing's `time_base`; more than that of the one before.
            end_ticks: until when at least, should it be the last.

        Raises:
            ValueError: the disk is full, or fails otherwise.
        """
        with self._failing():
            if self._container is None:
                self._open(image)
            frame = self._frame(image)
            last = self._starts[-1] if self._starts else None
            start = self._rescaled(ticks)
            frame.pts = start if last is None else max(start, last + 1)
            frame.time_base = self._time_base
            self._starts.append(frame.pts)
            self._packets.extend(self._stream.encode(frame))
            self._mux()
        self.show_until(end_ticks)

    def show_until(self, end_ticks: int) -> None:
        """Let the last picture stay until a time."""
        self._end_ticks = max(self._end_ticks, end_ticks)

    def _open(self, image: np.ndarray) -> None:
        options = {
            "movflags": "+faststart",  # The index in front: players begin at once.
            # In these the file says when its first picture comes; FFmpeg's are milliseconds.
            "movie_timescale": str(self._timing.time_base.denominator),
        }
        self._container = self._av.open(str(self._unfinished), "w", format="mp4", options=options)
        self._shape = image.shape[:2]
        self._stream = self._add_stream()
        if self._audio is not None:
            self._audio.add_to(self._container)

    def _add_stream(self) -> Any:
        """The video stream of the best encoder there is."""
        rate = Fraction(self._timing.rate_hz).limit_denominator(1001)
        try:
            stream = self._container.add_stream(_X264, rate=rate, options=_X264_OPTIONS)
        except self._av.codec.codec.UnknownCodecError:
            self._say("this FFmpeg has no x264, so the video is MPEG-4 Part 2, and larger")
            stream = self._container.add_stream("mpeg4", rate=rate)
            stream.codec_context.qmin = stream.codec_context.qmax = _MPEG4_QUALITY
            if self._time_base.denominator > _MPEG4_MAX_TICKS_A_SECOND:
                self._time_base = _MPEG4_TIME_BASE
        context = stream.codec_context
        height, width = self._shape
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt = "yuv420p"
        context.time_base = self._time_base
        context.sample_aspect_ratio = self._timing.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _VIDEO_RANGE
        return stream

    def _frame(self, image: np.ndarray) -> Any:
        height, width = self._shape
        if image.shape[:2] != self._shape:
            import cv2

            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        return frame.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range=_VIDEO_RANGE
        )

    def _mux(self) -> None:
        """Write the encoded pictures whose end is known, and the sound up to them."""
        while self._packets and len(self._starts) > 1:
            packet, start = self._packets.popleft(), self._starts.popleft()
            packet.duration = self._starts[0] - start
            if self._audio is not None:
                self._audio.mux_until(self._container, float(start * self._time_base))
            self._container.mux(packet)

    def _close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the file, or let go of it after an exception."""
        if self._container is None:
            if kind is None:
                raise ValueError(f"cannot write {self._path}: no picture came")
            return
        if kind is not None:
            with suppress(self._av.FFmpegError):
                self._container.close()
            return
        with self._failing():
            self._packets.extend(self._stream.encode(None))
            self._starts.append(max(self._rescaled(self._end_ticks), self._starts[-1] + 1))
            self._mux()
            if self._audio is not None:
                self._audio.mux_until(self._container, float("inf"))
                if self._audio.problem is not None:
                    self._say(self._audio.problem)
            self._container.close()

    def _rescaled(self, ticks: int) -> int:
        return round(ticks * self._timing.time_base / self._time_base)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._av.FFmpegError as error:
            raise ValueError(f"cannot write {self._path}: {error.strerror}") from error
