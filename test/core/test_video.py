from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ppd_core.video import Video


def write_video(path: Path, frames: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((48, 64, 3), (0, 100, 20 * index), np.uint8))  # blue, green, red
    writer.release()
    return path


def test_video_gives_its_frames_in_rgb(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "clip é.avi"))
    frames = list(video)
    assert video.frame_count == len(frames) == 12
    assert video.rate_hz == pytest.approx(10)
    for index, frame in enumerate(frames):
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8
        assert np.abs(frame.mean(axis=(0, 1)) - [20 * index, 100, 0]).max() < 6


def test_video_starts_anew_each_time(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "clip.avi"))
    first = next(iter(video))
    assert np.array_equal(first, next(iter(video)))


def test_video_that_was_cut_off_says_so_after_its_last_frame(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    video = Video(tmp_path / "cut.mkv")
    count = 0
    with pytest.raises(ValueError, match=r"cut\.mkv must have 12 frames as it says, got \d+"):
        for _ in video:
            count += 1
    assert 0 < count < 12


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_video_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip\.mp4 must be a video .* got no readable frame"):
        Video(path)


def test_video_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a video file, but there is none of that name"):
        Video(tmp_path / "clip.mp4")
