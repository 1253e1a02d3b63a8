"""`ppd depth` on videos; what photos are given is in test_cli_depth.py."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppd_core import DepthPipeline, DepthResult
from ppd_core.alignment.affine import alignment_from_range
from ppd_core.cli import depth as depth_command
from ppd_core.cli import main
from ppd_core.image_files import depth_preview
from ppd_core.types import AlignmentError
from ppd_core.video import Video

av = pytest.importorskip("av", reason="videos need PyAV, extra 'video'")

WIDTH, HEIGHT = 48, 32

Run = Callable[..., int]
WriteClip = Callable[..., Path]


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """A scene that moves to the left."""
    grid = np.random.default_rng(seed).integers(0, 256, (4, 12), np.uint8)
    wide = np.kron(grid, np.ones((HEIGHT // 4, 8), np.uint8))[..., None].repeat(3, axis=2)
    return [np.ascontiguousarray(wide[:, n : n + WIDTH]) for n in range(count)]


def results(folder: str = "out") -> list[str]:
    paths = Path(folder).rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def complaints(text: str) -> list[str]:
    """The lines on stderr, without those that every run has."""
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.startswith("ppd")]
    return [line for line in lines if "WARNING" not in line and "is relative" not in line]


def sound(path: str) -> list[bytes]:
    with av.open(path) as container:
        stream = container.streams.best("audio")
        packets = container.demux(stream) if stream else []
        return [bytes(packet) for packet in packets if packet.size]


def test_depth_of_a_video_is_a_film_of_it_with_its_sound(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(Path("clip.mov"), pictures(5), audio="aac", audio_s=0.5)
    assert ppd_depth("clip.mov") == 0
    assert results() == ["clip_depth.mp4"]
    film, source = Video("out/clip_depth.mp4"), Video("clip.mov")
    assert [one.stamp_s for one in film] == [one.stamp_s for one in source]
    assert next(iter(film)).image.shape == (HEIGHT, WIDTH, 3)
    assert sound("out/clip_depth.mp4") == sound("clip.mov") != []
    captured = capsys.readouterr()
    assert "5/5" in captured.err
    assert complaints(captured.err) == []
    assert captured.out == "1 done, 5 frames of video: out\n"

    assert ppd_depth("clip.mov") == 0
    assert "0 done, 1 skipped, whose results exist" in capsys.readouterr().out


def test_depth_beside_the_video_without_its_sound(ppd_depth: Run, write_clip: WriteClip) -> None:
    clip = write_clip(Path("clip.mp4"), pictures(3), audio="aac", audio_s=0.3)
    assert ppd_depth("clip.mp4", "--write", "side", "--no-audio") == 0
    assert results() == ["clip_side.mp4"]
    for both, one in zip(Video("out/clip_side.mp4"), Video(clip), strict=True):
        assert both.image.shape == (HEIGHT, 2 * WIDTH, 3)
        assert np.abs(both.image[:, : WIDTH - 2].astype(int) - one.image[:, :-2]).mean() < 8
        assert np.ptp(both.image[:, WIDTH:], axis=2).max() > 50  # in colours
    assert sound("out/clip_side.mp4") == []


def test_sound_that_no_film_can_have_is_told_once_for_all_of_them(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(Path("clip.mov"), pictures(2), audio="pcm_s16le", audio_s=0.2)
    assert ppd_depth("clip.mov", "--write", "mp4", "side") == 0
    (line,) = complaints(capsys.readouterr().err)
    assert line.startswith("ppd depth: clip.mov: its sound (pcm_s16le) does not fit")


def test_depth_of_photos_and_videos_gives_each_its_own(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(Path("in/clip.mp4"), pictures(2))
    Image.fromarray(pictures(1)[0]).save("in/cat.png")
    assert ppd_depth("in") == 0
    assert results() == ["cat_depth.npy", "cat_depth.png", "clip_depth.mp4"]
    assert capsys.readouterr().out == "2 done, 2 frames of video: out\n"
    assert ppd_depth("in", "--write", "side") == 0
    assert results() == ["cat_depth.npy", "cat_depth.png", "clip_depth.mp4", "clip_side.mp4"]
    assert "--write side is for videos: 1 of 2 inputs are left out" in capsys.readouterr().err
    assert ppd_depth("out") == 2  # films are results, not inputs
    assert ppd_depth("in", "--write", "png16") == 0
    assert [one for one in results() if "16" in one] == [
        "cat_depth16.png",
        "clip/000000_depth16.png",
        "clip/000001_depth16.png",
    ]


def test_depth_of_every_nth_frame(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(Path("clip.mkv"), pictures(6), audio="aac", audio_s=0.6)
    assert ppd_depth("clip.mkv", "--every", "2", "--write", "preview", "mp4") == 0
    frames = [f"clip/{index:06d}_depth.png" for index in (0, 2, 4)]
    assert results() == [*frames, "clip_depth.mp4"]
    assert "3/3" in capsys.readouterr().err
    film = list(Video("out/clip_depth.mp4"))
    taken = list(Video("clip.mkv"))[::2]
    assert [frame.stamp_s for frame in film] == pytest.approx([one.stamp_s for one in taken])
    with av.open("out/clip_depth.mp4") as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(0.6)


def noted(monkeypatch: pytest.MonkeyPatch) -> list[DepthResult]:
    """All that the pipeline returns from now on."""
    estimate, found = DepthPipeline.__call__, []

    def note(self: DepthPipeline, *args: object, **options: object) -> DepthResult:
        found.append(estimate(self, *args, **options))
        return found[-1]

    monkeypatch.setattr(DepthPipeline, "__call__", note)
    return found


def test_depth_of_videos_begins_each_from_noise_and_the_rest_from_the_frame_before(
    ppd_depth: Run, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = noted(monkeypatch)
    write_clip(Path("a.mp4"), pictures(3))
    write_clip(Path("b.mp4"), pictures(2))
    Image.fromarray(pictures(1)[0]).save("c.png")
    words = ["a.mp4", "b.mp4", "c.png", "--write", "npy", "--overwrite"]
    assert ppd_depth(*words, "--warm-start", "--steps", "2") == 0
    assert [one.is_warm for one in found] == [False, True, True, False, True, False]
    found.clear()
    assert ppd_depth(*words) == 0
    assert not any(one.is_warm for one in found)


def states(ppd_depth: Run, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    found = noted(monkeypatch)
    assert ppd_depth("clip.mp4", "--near", "0.5", "--far", "8", *words) == 0
    return [one.alignment.state for one in found]


def test_depth_ties_the_frames_of_a_video(
    ppd_depth: Run, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(Path("clip.mp4"), pictures(4))
    wanted = ["constant", "tied", "tied", "tied"]
    assert states(ppd_depth, monkeypatch) == wanted


def test_depth_takes_each_frame_alone_when_told(
    ppd_depth: Run, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(Path("clip.mp4"), pictures(4))
    assert states(ppd_depth, monkeypatch, "--no-track") == ["constant"] * 4


def test_depth_is_not_tied_over_a_cut(
    ppd_depth: Run, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(Path("clip.mp4"), [*pictures(2), *pictures(2, seed=1)])
    assert states(ppd_depth, monkeypatch) == ["constant", "tied"] * 2


def test_relative_depth_is_tied_and_alone_it_is_the_model_s(
    ppd_depth: Run, tiny: DepthPipeline, write_clip: WriteClip
) -> None:
    clip = write_clip(Path("clip.mp4"), pictures(3))
    alone = [
        tiny(frame.image, num_steps=1, processing_area=1024).relative_depth.numpy()
        for frame in Video(clip)
    ]
    paths = [f"out/clip/{index:06d}_depth.npy" for index in range(3)]
    words = ("clip.mp4", "--steps", "1", "--write", "npy")
    assert ppd_depth(*words, "--no-track") == 0
    for path, wanted in zip(paths, alone, strict=True):
        np.testing.assert_allclose(np.load(path), wanted, atol=1e-5)
    assert ppd_depth(*words, "--overwrite") == 0
    np.testing.assert_allclose(np.load(paths[0]), alone[0], atol=1e-5)
    tied = [np.load(path) for path in paths[1:]]
    for depth, own in zip(tied, alone[1:], strict=True):
        scale, shift = np.polyfit(own.ravel(), depth.ravel(), 1)
        np.testing.assert_allclose(depth, scale * own + shift, atol=1e-4)
        assert abs(scale - 1) + abs(shift) > 1e-4


@pytest.mark.parametrize("lost", [1, 4])
def test_frames_without_metres_are_invalid_and_counted(
    ppd_depth: Run,
    write_clip: WriteClip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lost: int,
) -> None:
    near_and_far = [alignment_from_range(0.5, 8.0)] * 4
    nothing = AlignmentError("few_samples", "want 64, got 3")
    evidence = iter([nothing] * lost + near_and_far)
    monkeypatch.setattr(
        depth_command, "evidence_of", lambda args: lambda own_anchors: next(evidence)
    )
    write_clip(Path("clip.mp4"), pictures(4))
    status = ppd_depth("clip.mp4", "--write", "npy", "mp4")
    assert np.isnan(np.load("out/clip/000000_depth.npy")).all()
    reason = "too few metric samples, as of a sensor that sees nothing: want 64, got 3"
    (line,) = complaints(capsys.readouterr().err)
    if lost == 4:
        assert status == 1
        assert line == f"ppd depth: clip.mp4: none of its frames has metres: {reason}"
        assert not Path("out/clip_depth.mp4").exists()
    else:
        assert status == 0
        assert line == f"ppd depth: clip.mp4: 1 of 4 frames are invalid, without metres: {reason}"
        assert next(iter(Video("out/clip_depth.mp4"))).image.max() < 20  # black
        assert np.isfinite(np.load("out/clip/000001_depth.npy")).mean() > 0.5


def test_the_colors_of_a_video_s_frames_are_between_the_same_ends(
    ppd_depth: Run, write_clip: WriteClip
) -> None:
    write_clip(Path("clip.mp4"), pictures(8))
    assert ppd_depth("clip.mp4", "--write", "npy", "preview") == 0
    depth = np.load("out/clip/000007_depth.npy")
    with Image.open("out/clip/000007_depth.png") as preview:
        pixels = np.array(preview)
    assert not np.array_equal(pixels, depth_preview(depth))  # by its own ends
    with Image.open("out/clip/000000_depth.png") as preview:
        assert np.array_equal(
            np.array(preview), depth_preview(np.load("out/clip/000000_depth.npy"))
        )


def test_depth_goes_on_where_frames_are_missing_and_says_that_they_begin_anew(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(Path("clip.mp4"), pictures(4))
    assert ppd_depth("clip.mp4", "--write", "npy") == 0
    Path("out/clip/000002_depth.npy").unlink()
    Path("out/clip/000000_depth.npy").write_bytes(b"earlier")
    capsys.readouterr()
    assert ppd_depth("clip.mp4", "--write", "npy") == 0
    captured = capsys.readouterr()
    assert complaints(captured.err) == [
        "ppd depth: clip.mp4: frame 2 begins anew, for those before it exist"
    ]
    assert captured.out.startswith("1 done, 1 frame of video, 3 frames skipped, whose")
    assert Path("out/clip/000000_depth.npy").read_bytes() == b"earlier"
    assert np.load("out/clip/000002_depth.npy").shape == (HEIGHT, WIDTH)


def test_a_film_is_made_of_all_frames_though_files_of_some_exist(
    ppd_depth: Run, write_clip: WriteClip
) -> None:
    write_clip(Path("clip.mp4"), pictures(3))
    Path("out/clip").mkdir(parents=True)
    Path("out/clip/000001_depth.npy").write_bytes(b"earlier")
    assert ppd_depth("clip.mp4", "--write", "npy", "mp4") == 0
    assert len(list(Video("out/clip_depth.mp4"))) == 3
    assert Path("out/clip/000001_depth.npy").read_bytes() == b"earlier"


def test_a_truncated_video_gives_what_can_be_decoded_and_fails(
    ppd_depth: Run, write_clip: WriteClip, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(12)]
    whole = write_clip(Path("whole.mkv"), noise, codec="mjpeg", pix_fmt="yuvj420p")
    Path("cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert ppd_depth("cut.mkv", "--write", "mp4", "npy") == 1
    count = len(list(Video("out/cut_depth.mp4")))
    assert 0 < count < 12
    assert len(results("out/cut")) == count
    captured = capsys.readouterr()
    (line,) = complaints(captured.err)
    assert line.startswith("ppd depth: cut.mkv must last 1.2 s as it says, got ")
    assert captured.out == f"0 done, {count} frames of video, 1 failed: out\n"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_film_leaves_nothing_that_looks_done(
    ppd_depth: Run,
    write_clip: WriteClip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
) -> None:
    handler = signal.getsignal(number)
    write_clip(Path("clip.mp4"), pictures(5), audio="aac", audio_s=0.5)
    estimate, calls = DepthPipeline.__call__, []

    def interrupt(self: DepthPipeline, *args: object, **options: object) -> DepthResult:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return estimate(self, *args, **options)

    monkeypatch.setattr(DepthPipeline, "__call__", interrupt)
    assert ppd_depth("clip.mp4", "--write", "mp4", "side") == status
    assert results() == []
    assert capsys.readouterr().err.endswith("ppd: interrupted\n") == (number == signal.SIGINT)
    assert signal.getsignal(number) == handler
    assert ppd_depth("clip.mp4") == 0
    assert len(list(Video("out/clip_depth.mp4"))) == 5


def test_videos_without_pyav_are_refused_before_a_model_is_loaded(
    write_clip: WriteClip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    clip = str(write_clip(tmp_path / "clip.mp4", pictures(2)))
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["depth", clip, "-o", str(tmp_path / "out"), "--model", "tiny"]) == 2
    (line,) = complaints(capsys.readouterr().err)
    assert line.startswith("ppd depth: videos need PyAV, got none")
    assert line.endswith("pip install 'ppd_ros[video]'")


def test_photos_beside_a_video_need_no_pyav(
    ppd_depth: Run,
    write_clip: WriteClip,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_clip(Path("clip.mp4"), pictures(2))
    Image.fromarray(pictures(1)[0]).save("cat.png")
    monkeypatch.setitem(sys.modules, "av", None)
    assert ppd_depth("clip.mp4", "cat.png") == 1
    assert results() == ["cat_depth.npy", "cat_depth.png"]
    assert "ppd depth: clip.mp4: videos need PyAV" in capsys.readouterr().err
