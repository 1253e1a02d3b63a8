"""The sound of a video file, packet by packet as it is, for another file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ppd_core.pyav import import_av

MP4_CODECS = frozenset(["aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"])
"""What players expect in an MP4; FFmpeg would write more."""


class AudioCopy:
    """The packets of a video's best sound, to be put into an MP4 beside other pictures.

    Args:
        path: the video.
        start_s: of the times in the file, which becomes 0.

    Attributes:
        problem: a sentence why there is not all of the sound, None so far.
    """

    def __init__(self, path: Path, start_s: float) -> None:
        self._path = path
        self._start_s = Fraction(start_s)
        self._error_type = import_av().FFmpegError
        self._container = import_av().open(str(path))
        self._source = self._container.streams.best("audio")
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._target: Any = None
        self._last_dts: int | None = None
        self.problem: str | None = None

    def add_to(self, container: Any) -> None:
        """Declare the sound in an MP4 that nothing is in yet; `problem` says why it cannot be."""
        if self._source is None:
            return
        name = _codec_name(self._source)
        try:
            if name not in MP4_CODECS:
                raise ValueError(name)
            self._target = container.add_stream_from_template(self._source)
        except ValueError:
            self.problem = f"its sound ({name}) does not fit into an MP4 and is left out"
            return
        self._target.time_base = self._source.time_base
        self._packets = self._container.demux(self._source)

    def mux_until(self, container: Any, end_s: float) -> None:
        """Put in what is heard before a time in seconds."""
        while (packet := self._peek()) is not None:
            shift = round(self._start_s / packet.time_base)
            if (packet.dts - shift) * packet.time_base >= end_s:
                return
            self._next, self._last_dts = None, packet.dts
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._target
            container.mux(packet)

    def close(self) -> None:
        """Close the video."""
        self._container.close()

    def _peek(self) -> Any:
        """The packet that comes next, None at the end."""
        while self._next is None:
            try:
                packet = next(self._packets, None)
            except self._error_type as error:
                self.problem = f"its sound is damaged and ends early: {error.strerror}"
                packet, self._packets = None, iter(())
            if packet is None:
                return None
            if self._is_usable(packet):
                self._next = packet
        return self._next

    def _is_usable(self, packet: Any) -> bool:
        """Whether a packet has sound and a time; of its two times one may be missing at first."""
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.size == 0 or packet.dts is None:  # The demuxer's last word is an empty packet.
            return False
        if self._last_dts is not None and packet.dts <= self._last_dts:
            # As in files joined of two; an MP4 cannot hold that.
            self.problem = "the times of its sound go back, and what comes then is left out"
            return False
        return True


def _codec_name(stream: Any) -> str:
    context = stream.codec_context
    if context is None:
        return "unknown"
    # Of several decoders of MP3 one is called mp3float.
    return str(getattr(context.codec, "canonical_name", context.codec.name))
