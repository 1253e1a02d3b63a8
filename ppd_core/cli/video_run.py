"""A video through the pipeline: files of its frames, and films of their depth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ppd_core.cli.batch import Batch, Report, write_picture
from ppd_core.cli.inputs import Input
from ppd_core.cli.results import FILMS, Picture
from ppd_core.color_range import ColorRange
from ppd_core.scene_cut import CutDetector
from ppd_core.steady import SteadyDepth, without_metres
from ppd_core.video import Video, VideoFrame
from ppd_core.video_audio import AudioCopy
from ppd_core.video_writer import Mp4Writer, Timing


@dataclass(frozen=True, eq=False)
class _Look:
    """What makes pictures of a video's frames, and remembers of them what the next one needs."""

    batch: Batch
    estimate: SteadyDepth
    colors: ColorRange
    cuts: CutDetector

    def picture(self, frame: VideoFrame) -> Picture:
        """The next frame's depth, tied to those before unless the video was cut."""
        if self.cuts.is_cut(frame.image):
            self.estimate.reset()
            self.colors.reset()
        intrinsics = self.batch.intrinsics(frame.image)
        result = self.estimate(frame.image, frame.stamp_s, intrinsics=intrinsics)
        if result.metric_depth is None and result.alignment_failure is not None:
            result = without_metres(result)
        return Picture(result, partial(self.colors.follow, stamp_s=frame.stamp_s))


def run_video(batch: Batch, one: Input, estimate: SteadyDepth, report: Report) -> None:
    """Work on one video.

    Of a damaged one, all that can be decoded is worked on, and its films are complete, before it
    fails. Frames whose files exist are left out, unless they are needed for a film.

    Raises:
        ValueError: the video cannot be read to its end, or a file cannot be written.
    """
    films = batch.to_write(one.name, batch.films)
    if not films and not batch.frames:
        report.count("skipped")
        return
    video = Video(one.path)
    if video.frame_count is not None:
        total = report.progress.total or 0
        report.progress.total = total + math.ceil(video.frame_count / batch.every) - 1
        report.progress.refresh()
    look = _Look(batch, estimate, ColorRange(), CutDetector())
    problems: list[ValueError] = []
    with ExitStack() as stack:
        writers = {
            kind: stack.enter_context(_film(batch, path, video, one, report))
            for kind, path in films.items()
        }
        _run_frames(look, one, _readable(video, problems), writers, report)
    if problems:
        raise problems[0]
    report.count_video()


def _run_frames(
    look: _Look,
    one: Input,
    frames: Iterator[VideoFrame],
    writers: dict[str, Mp4Writer],
    report: Report,
) -> None:
    batch = look.batch
    num_done, num_lost, is_gap, failure = 0, 0, False, None
    for index, frame in enumerate(frames):
        end_ticks = frame.ticks + frame.duration_ticks
        for writer in writers.values():
            # Also of frames that are not taken: the film is as long as the video.
            writer.show_until(end_ticks)
        if index % batch.every:
            continue
        paths = batch.to_write(one.name / f"{index:06d}", batch.frames)
        if not paths and not writers:
            is_gap = True
            report.count("skipped frames")
            continue
        if is_gap and look.estimate.is_tracked:
            report.say(one.path, f"frame {index} begins anew, for those before it exist")
        is_gap = False
        picture = look.picture(frame)
        if picture.result.alignment is None and picture.result.alignment_failure is not None:
            num_lost, failure = num_lost + 1, picture.result.alignment_failure
        write_picture(paths, picture)
        for kind, writer in writers.items():
            writer.write(FILMS[kind](frame.image, picture), frame.ticks, end_ticks)
        num_done += 1
        report.count("frames")
    if num_done and num_lost == num_done:
        raise ValueError(f"none of its frames has metres: {failure}")
    if num_lost:
        lost = f"{num_lost} of {num_done} frames are invalid, without metres"
        report.say(one.path, f"{lost}: {failure}")


def _film(batch: Batch, path: Path, video: Video, one: Input, report: Report) -> Mp4Writer:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = AudioCopy(video.path, video.start_s) if batch.has_audio else None
    say = partial(report.say, one.path)
    return Mp4Writer(path, Timing.of(video), audio=audio, say=say)


def _readable(video: Video, problems: list[ValueError]) -> Iterator[VideoFrame]:
    """The frames that can be decoded; what the video fails with at the end goes to `problems`."""
    try:
        yield from video
    except ValueError as error:
        problems.append(error)
