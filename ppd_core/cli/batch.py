"""Input after input through the pipeline, and its results to files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.cli.inputs import Input
from ppd_core.cli.results import WRITERS, Picture
from ppd_core.image_files import is_animation, read_image
from ppd_core.steady import SteadyDepth
from ppd_core.types import Intrinsics

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm


@dataclass(frozen=True)
class Batch:
    """What to do with each input.

    Args:
        output: folder of the results, which exists.
        photos: what to write of a photo, a key of `results.WRITERS`, and how its file's name ends.
        frames: the same of a video's frames.
        films: the same of a video as a whole, a key of `results.FILMS`.
        camera: gives the intrinsics of an image by its width and height; None = not known.
        every: of a video, every how many frames to take one.
        has_audio: films get the video's sound.
        is_overwriting: make results anew that are there.
    """

    output: Path
    photos: dict[str, str]
    frames: dict[str, str]
    films: dict[str, str]
    camera: Callable[[int, int], Intrinsics] | None
    every: int
    has_audio: bool
    is_overwriting: bool

    def to_write(self, name: Path, endings: dict[str, str]) -> dict[str, Path]:
        """Kind -> file of the results called `name` that are still to be written."""
        paths = {
            kind: self.output / name.with_name(name.name + ending)
            for kind, ending in endings.items()
        }
        if all(path.exists() for path in paths.values()) and not self.is_overwriting:
            return {}
        return paths

    def intrinsics(self, image: np.ndarray) -> Intrinsics | None:
        """Of an (H, W, 3) image."""
        height, width = image.shape[:2]
        return None if self.camera is None else self.camera(width, height)


@dataclass(frozen=True, eq=False)
class Report:
    """What the user is told while a batch goes on.

    Attributes:
        progress: counts images and frames.
        counts: inputs that are "done", "skipped" and "failed"; of videos also the "frames" that
            are done and the "skipped frames".
    """

    progress: tqdm
    counts: Counter[str]
    _said: set[str] = field(default_factory=set)

    def count(self, what: str) -> None:
        """An image, or a frame, is behind us."""
        self.counts[what] += 1
        self.progress.update()

    def count_video(self) -> None:
        """A video is done, whose frames were counted."""
        self.counts["done"] += 1

    def say(self, path: Path, sentence: str) -> None:
        """A line about an input; once, though each of two films may have it to say."""
        text = " ".join(sentence.split())
        line = text if str(path) in text else f"{path}: {text}"
        if line not in self._said:
            self._said.add(line)
            self.progress.write(f"ppd depth: {line}", file=sys.stderr)


def run_batch(batch: Batch, inputs: list[Input], begin: Callable[[Input], SteadyDepth]) -> int:
    """Work on all inputs; report those that fail, a line each on stderr, and go on.

    Args:
        batch: what to do with each.
        inputs: photos and videos.
        begin: makes what estimates the frames of one input, for each anew.

    Returns:
        How many inputs failed.
    """
    from tqdm import tqdm

    from ppd_core.cli.video_run import run_video

    with tqdm(total=len(inputs), unit="img", desc="depth") as progress:
        report = Report(progress, Counter())
        for one in inputs:
            work = run_video if one.is_video else _run_photo
            try:
                work(batch, one, begin(one), report)
            # RuntimeError is how torch says that memory, the CPU's or the GPU's, ran out.
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                report.say(one.path, str(error) or type(error).__name__)
                report.count("failed")
    print(_summary(batch.output, report.counts))
    return report.counts["failed"]


def _run_photo(batch: Batch, one: Input, estimate: SteadyDepth, report: Report) -> None:
    paths = batch.to_write(one.name, batch.photos)
    if not paths:
        report.count("skipped")
        return
    image = read_image(one.path)
    if is_animation(one.path):
        report.say(one.path, "only its first picture is taken; as a video, each would be")
    result = estimate(image, 0.0, intrinsics=batch.intrinsics(image))
    if result.metric_depth is None and result.alignment_failure is not None:
        raise result.alignment_failure
    write_picture(paths, Picture(result))
    report.count("done")


def write_picture(paths: dict[str, Path], picture: Picture) -> None:
    """Write the files of one image; kind -> file."""
    for kind, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[kind](path, picture)


def _summary(output: Path, counts: Counter[str]) -> str:
    parts = [f"{counts['done']} done"]
    if counts["frames"]:
        parts.append(f"{_frames(counts['frames'])} of video")
    skipped = [str(counts["skipped"])] if counts["skipped"] else []
    if counts["skipped frames"]:
        skipped.append(_frames(counts["skipped frames"]))
    if skipped:
        parts.append(f"{' and '.join(skipped)} skipped, whose results exist (see --overwrite)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return f"{', '.join(parts)}: {output}"


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"
