from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ppd_core.video import Video, upright

WriteClip = Callable[..., Path]


def shades(count: int = 12, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Each frame of one colour: red grows, green is 100, blue 0."""
    return [np.full((height, width, 3), (20 * index, 100, 0), np.uint8) for index in range(count)]


@pytest.mark.parametrize("name", ["clip é.mp4", "clip.mkv", "clip.ts"])
def test_video_gives_its_frames_in_rgb(tmp_path: Path, write_clip: WriteClip, name: str) -> None:
    video = Video(write_clip(tmp_path / name, shades()))
    frames = list(video)
    assert video.frame_count == len(frames) == 12
    assert video.rate_hz == pytest.approx(10)
    for index, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.mean(axis=(0, 1)) - [20 * index, 100, 0]).max() < 6
        assert frame.stamp_s == pytest.approx(0.1 * index)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mjpeg", "mjpeg", "yuvj420p"),
        ("clip.h264", "libx264", "yuv420p"),
        ("clip.asf", "mpeg4", "yuv420p"),
        ("clip.vob", "mpeg2video", "yuv420p"),
    ],
)
def test_video_without_an_index_or_times_gives_all_its_frames(
    tmp_path: Path, write_clip: WriteClip, name: str, codec: str, pix_fmt: str
) -> None:
    # MPEG-2 knows only some rates, and all times of one of them.
    stamps_ms = [40 * index for index in range(12)]
    clip = write_clip(tmp_path / name, shades(), stamps_ms, codec=codec, pix_fmt=pix_fmt, rate=25)
    frames = list(Video(clip))
    assert len(frames) == 12
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.mean(axis=(0, 1)) - [20 * index, 100, 0]).max() < 9
        assert frame.stamp_s == pytest.approx(0.04 * index)


def test_video_starts_anew_each_time(tmp_path: Path, write_clip: WriteClip) -> None:
    video = Video(write_clip(tmp_path / "clip.mp4", shades()))
    first = next(iter(video))
    assert np.array_equal(first.image, next(iter(video)).image)


def test_video_of_a_variable_rate_has_each_frame_at_its_own_time(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    stamps_ms = [0, 33, 50, 200, 240, 300, 900, 933, 1000, 1033, 2000, 2033]
    video = Video(write_clip(tmp_path / "clip.mp4", shades(), stamps_ms))
    frames = list(video)
    assert [frame.stamp_s for frame in frames] == [ms / 1000 for ms in stamps_ms]
    for frame in frames:
        assert frame.stamp_s == float(frame.ticks * video.time_base)


def test_video_with_sound_before_its_first_picture_is_timed_by_the_sound(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    stamps_ms = [300, 400, 500]
    clip = write_clip(tmp_path / "clip.mkv", shades(3), stamps_ms, audio="libopus")
    stamps_s = [frame.stamp_s for frame in Video(clip)]
    np.testing.assert_allclose(np.diff(stamps_s), 0.1, atol=1e-9)
    assert stamps_s[0] == pytest.approx(0.3, abs=0.01)  # the codec's lead-in


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_video_is_turned_as_the_file_says(
    tmp_path: Path, write_clip: WriteClip, quarters: int, is_mirrored: bool
) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = 255
    image[:16, 16:] = (200, 0, 0)
    clip = write_clip(tmp_path / "clip.mov", [image] * 2, turn=(90 * quarters, is_mirrored))
    wanted = np.rot90(image, quarters)
    if is_mirrored:
        wanted = wanted[:, ::-1]
    video = Video(clip)
    shown = next(iter(video)).image
    assert shown.shape == wanted.shape
    assert shown.flags.c_contiguous
    inner = np.ones(wanted.shape[:2], bool)
    inner[:: wanted.shape[0] - 1] = False
    difference = np.abs(shown.astype(int) - wanted).mean(axis=2)
    assert np.median(difference) < 3
    assert (difference < 60).mean() > 0.95  # all but the borders, which the codec blurs


def test_upright_leaves_what_is_no_quarter_turn() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    askew = np.array([[0.7, 0.7], [-0.7, 0.7]]) * 0.6
    assert np.array_equal(upright(image, askew), image)


def test_video_of_odd_sides(tmp_path: Path, write_clip: WriteClip) -> None:
    images = shades(3, height=47, width=63)
    video = Video(write_clip(tmp_path / "clip.webm", images, codec="libvpx-vp9"))
    assert [frame.image.shape for frame in video] == [(47, 63, 3)] * 3


def test_video_of_ten_bits(tmp_path: Path, write_clip: WriteClip) -> None:
    clip = write_clip(tmp_path / "clip.mkv", shades(3), codec="ffv1", pix_fmt="yuv420p10le")
    last = list(Video(clip))[-1].image
    assert last.dtype == np.uint8
    assert np.abs(last.astype(int) - (40, 100, 0)).max() < 4


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}


@pytest.mark.parametrize("name", ["mkv", "avi"])
def test_video_that_was_cut_off_says_so_after_its_last_frame(
    tmp_path: Path, write_clip: WriteClip, name: str
) -> None:
    whole = write_clip(tmp_path / f"whole.{name}", noise(12), **MJPEG)
    cut = tmp_path / f"cut.{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    count = 0
    with pytest.raises(
        ValueError, match=rf"cut\.{name} must last \d\.\d s as it says, got 0\.\d s"
    ):
        for _ in Video(cut):
            count += 1
    assert 0 < count < 12


def test_video_whose_sound_is_longer_is_whole(tmp_path: Path, write_clip: WriteClip) -> None:
    clip = write_clip(tmp_path / "clip.mkv", shades(3), audio="libopus", audio_s=2.0)
    assert len(list(Video(clip))) == 3


def zero_frames(path: Path, wanted: range) -> None:
    """Overwrite the inside of some of an MJPEG's frames."""
    data = bytearray(path.read_bytes())
    starts = [n for n in range(len(data)) if data[n : n + 3] == b"\xff\xd8\xff"]
    for index in wanted:
        start = starts[index]
        data[start : start + 600] = bytes(600)
    path.write_bytes(data)


def test_video_goes_on_behind_damage(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "clip.mkv", noise(20), **MJPEG)
    zero_frames(path, range(5, 6))
    stamps_s = [frame.stamp_s for frame in Video(path)]
    assert stamps_s == [n / 10 for n in range(20) if n != 5]


def test_video_of_which_much_is_damaged_says_so_after_its_last_frame(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    path = write_clip(tmp_path / "clip.mkv", noise(20), **MJPEG)
    zero_frames(path, range(5, 12))
    stamps_s = []
    with pytest.raises(ValueError, match=r"must be undamaged, got 7 of \d+ frames"):
        for frame in Video(path):
            stamps_s.append(frame.stamp_s)
    assert len(stamps_s) == 13
    assert stamps_s[-1] == pytest.approx(1.9)


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_video_that_is_none(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("av", reason="videos need PyAV, extra 'video'")
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip\.mp4 must be a video .* got no readable frame"):
        Video(path)


def test_video_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a video file, but there is none of that name"):
        Video(tmp_path / "clip.mp4")


def test_video_without_pyav_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "clip.mp4"
    path.touch()
    with pytest.raises(ValueError, match=r"need PyAV.*pip install 'ppd_ros\[video\]'"):
        Video(path)
