from __future__ import annotations

import resource
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppd_core import video_writer
from ppd_core.video import Video
from ppd_core.video_audio import AudioCopy
from ppd_core.video_writer import Mp4Writer, Timing

av = pytest.importorskip("av", reason="videos need PyAV, extra 'video'")

WriteClip = Callable[..., Path]
VARIABLE_MS = [0, 33, 50, 200, 240, 300, 900, 933, 1000, 1033, 2000, 2033]
MILLISECONDS = Timing(Fraction(1, 1000), 10)


def shades(count: int = 12, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [np.full((height, width, 3), (20 * index, 100, 0), np.uint8) for index in range(count)]


def copy(
    clip: Path, path: Path, every: int = 1, say: Callable[[str], None] = pytest.fail
) -> Video:
    """A video as it is, by the writer."""
    video = Video(clip)
    audio = AudioCopy(clip, video.start_s)
    with Mp4Writer(path, Timing.of(video), audio=audio, say=say) as writer:
        for index, frame in enumerate(video):
            end_ticks = frame.ticks + frame.duration_ticks
            writer.show_until(end_ticks)
            if index % every == 0:
                writer.write(frame.image, frame.ticks, end_ticks)
    return Video(path)


def facts(path: Path) -> dict[str, Any]:
    """What is in a file: of its video and its sound."""
    with av.open(str(path)) as container:
        known: dict[str, Any] = {}
        for stream in container.streams:
            known[stream.type] = stream.codec_context.name
            known[f"{stream.type}_s"] = float(stream.duration * stream.time_base)
        return known


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.best("audio"))
        return [bytes(packet) for packet in packets if packet.size]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("stamps_ms", [None, VARIABLE_MS])
def test_pictures_are_shown_at_the_exact_times_of_the_source(
    tmp_path: Path, write_clip: WriteClip, name: str, stamps_ms: list[int] | None
) -> None:
    clip = write_clip(tmp_path / name, shades(), stamps_ms)
    written = copy(clip, tmp_path / "copy.mp4")
    wanted, got = ([frame.stamp_s for frame in one] for one in (Video(clip), written))
    assert got == pytest.approx(wanted, abs=1e-9)
    assert len(got) == 12


def test_a_clock_that_begins_late_keeps_sound_and_pictures_together(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    clip = write_clip(tmp_path / "clip.ts", shades(), audio="aac", audio_s=1.2)
    assert Video(clip).start_s > 0
    written = copy(clip, tmp_path / "copy.mp4")
    begins = [next(iter(one)).stamp_s for one in (Video(clip), written)]
    assert begins[1] == pytest.approx(begins[0], abs=1e-4)
    assert facts(tmp_path / "copy.mp4")["audio_s"] == pytest.approx(1.2, abs=0.05)


def test_the_video_is_h264_that_players_like(tmp_path: Path, write_clip: WriteClip) -> None:
    copy(write_clip(tmp_path / "clip.mkv", shades()), tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "copy.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_colors_come_back(tmp_path: Path) -> None:
    pictures = [
        np.full((32, 32, 3), color, np.uint8)
        for color in ((255, 255, 255), (0, 0, 0), (200, 40, 30), (20, 160, 60), (30, 50, 220))
    ]
    with Mp4Writer(tmp_path / "film.mp4", MILLISECONDS) as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, 100 * index, 100 * index + 100)
    for frame, picture in zip(Video(tmp_path / "film.mp4"), pictures, strict=True):
        assert np.abs(frame.image.astype(int) - picture).mean() < 4


def test_odd_sides_become_even_without_a_dark_line(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "film.mp4", MILLISECONDS) as writer:
        writer.write(np.full((47, 63, 3), 200, np.uint8), 0, 100)
    (frame,) = Video(tmp_path / "film.mp4")
    assert frame.image.shape == (48, 64, 3)
    assert np.abs(frame.image.astype(int) - 200).max() < 8


def test_a_picture_of_another_size_is_brought_to_that_of_the_first(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "film.mp4", MILLISECONDS) as writer:
        for index, side in enumerate((64, 32, 96)):
            writer.write(np.full((side, side, 3), 90, np.uint8), 100 * index, 100 * index + 100)
    assert [frame.image.shape for frame in Video(tmp_path / "film.mp4")] == [(64, 64, 3)] * 3


def test_pixels_keep_their_shape(tmp_path: Path) -> None:
    timing = Timing(Fraction(1, 1000), 10, pixel_aspect=Fraction(4, 3))
    with Mp4Writer(tmp_path / "film.mp4", timing) as writer:
        writer.write(shades(1)[0], 0, 100)
    assert Video(tmp_path / "film.mp4").pixel_aspect == Fraction(4, 3)


@pytest.mark.parametrize("every", [1, 4, 100])
def test_with_frames_left_out_the_film_is_as_long_as_the_video(
    tmp_path: Path, write_clip: WriteClip, every: int
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", shades(), audio="aac", audio_s=1.2)
    copy(clip, tmp_path / "copy.mp4", every)
    got = facts(tmp_path / "copy.mp4")
    assert got["video_s"] == pytest.approx(1.2)
    assert got["audio_s"] == pytest.approx(1.2, abs=0.03)
    assert len(list(Video(tmp_path / "copy.mp4"))) == -(-12 // every)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mp4", "aac"),
        ("clip.mkv", "aac"),
        ("clip.mkv", "ac3"),
        ("clip.mov", "alac"),
        ("clip.mkv", "libopus"),
        ("clip.mp4", "libmp3lame"),
    ],
)
def test_sound_is_copied_as_it_is(
    tmp_path: Path, write_clip: WriteClip, name: str, codec: str
) -> None:
    clip = write_clip(tmp_path / name, shades(), audio=codec, audio_s=1.2)
    copy(clip, tmp_path / "copy.mp4")
    assert sound(tmp_path / "copy.mp4") == sound(clip)
    assert len(sound(clip)) > 10
    got = facts(tmp_path / "copy.mp4")
    assert got["audio_s"] == pytest.approx(got["video_s"], abs=0.06)


def test_sound_that_does_not_fit_is_left_out_and_said(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    clip = write_clip(tmp_path / "clip.mov", shades(), audio="pcm_s16le")
    said: list[str] = []
    copy(clip, tmp_path / "copy.mp4", say=said.append)
    assert said == ["its sound (pcm_s16le) does not fit into an MP4 and is left out"]
    assert "audio" not in facts(tmp_path / "copy.mp4")


def test_sound_whose_time_goes_back_is_left_out_from_there(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    part = write_clip(tmp_path / "part.ts", shades(), audio="libmp3lame", audio_s=1.2)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * part.read_bytes())
    said: list[str] = []
    copy(joined, tmp_path / "copy.mp4", say=said.append)
    assert said == ["the times of its sound go back, and what comes then is left out"]
    assert sound(tmp_path / "copy.mp4") == sound(part)


def test_without_x264_the_video_is_mpeg4_and_that_is_said(
    tmp_path: Path, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_writer, "_X264", "x264_of_another_build")
    clip = write_clip(tmp_path / "clip.ts", shades(), VARIABLE_MS)  # 90 000 ticks a second
    said: list[str] = []
    written = copy(clip, tmp_path / "copy.mp4", say=said.append)
    assert said == ["this FFmpeg has no x264, so the video is MPEG-4 Part 2, and larger"]
    assert facts(tmp_path / "copy.mp4")["video"] == "mpeg4"
    wanted, got = ([frame.stamp_s for frame in one] for one in (Video(clip), written))
    assert got == pytest.approx(wanted, abs=1 / 60_000)


def test_the_only_picture_lasts_as_long_as_it_is_told_also_without_x264(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_writer, "_X264", "x264_of_another_build")
    with Mp4Writer(tmp_path / "film.mp4", Timing(Fraction(1, 90_000), 10)) as writer:
        writer.show_until(180_000)
        writer.write(shades(1)[0], 0, 9_000)
    assert facts(tmp_path / "film.mp4")["video_s"] == pytest.approx(2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    with pytest.raises(error), Mp4Writer(path, MILLISECONDS) as writer:
        for index, picture in enumerate(shades()):
            writer.write(picture, 100 * index, 100 * index + 100)
        assert len(list(tmp_path.iterdir())) == 2
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with (
            pytest.raises(ValueError, match=r"cannot write .*film\.mp4: File too large"),
            Mp4Writer(tmp_path / "film.mp4", MILLISECONDS) as writer,
        ):
            for index in range(60):
                picture = rng.integers(0, 256, (96, 96, 3), np.uint8)
                writer.write(picture, 100 * index, 100 * index + 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_film_into_a_folder_that_is_not_there_closes_its_sound(
    tmp_path: Path, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", shades(2), audio="aac", audio_s=0.2)
    audio, closed = AudioCopy(clip, 0.0), []
    monkeypatch.setattr(audio, "close", lambda: closed.append(True))
    with (
        pytest.raises(ValueError, match=r"cannot write .*none/film\.mp4: No such file"),
        Mp4Writer(tmp_path / "none" / "film.mp4", MILLISECONDS, audio=audio),
    ):
        pytest.fail("the block must not run")
    assert closed == [True]


def test_a_film_of_nothing_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"cannot write .*film\.mp4: no picture came"),
        Mp4Writer(tmp_path / "film.mp4", MILLISECONDS),
    ):
        pass
    assert not list(tmp_path.iterdir())
