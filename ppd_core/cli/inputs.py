"""What the words on a command line mean: image and video files, and the names of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
VIDEO_SUFFIXES = frozenset(
    (
        *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".ogv", ".webm", ".wmv"),
    )
)
NAMED_VIDEO_SUFFIXES = VIDEO_SUFFIXES | {".ts"}
"""Of files that are named outright: in folders, .ts is more often TypeScript."""


@dataclass(frozen=True)
class Input:
    """One file to work on.

    Args:
        path: the file.
        name: what its results are called, a path below the output folder without an ending.
    """

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether the name says video; everything else is tried as an image."""
        return self.path.suffix.lower() in NAMED_VIDEO_SUFFIXES


def find_inputs(
    words: Iterable[str | Path], result_endings: tuple[str, ...]
) -> tuple[list[Input], list[str]]:
    """Find the files that are meant, each once, in the order of the words.

    A folder is searched with its sub-folders, in sorted order, for files with a suffix of
    `IMAGE_SUFFIXES` or `VIDEO_SUFFIXES`; hidden ones are left out.

    Args:
        words: files and folders.
        result_endings: files in folders that end so are earlier results, and left out.

    Returns:
        The files, and one sentence for each word that gave none. Results are named after the
        file (in a folder: its path below the folder) without suffix; files that would share a
        name, also a video and a folder of photos, get their suffix back (`cat_jpg`, `cat_png`),
        and if that is not enough, a number.
    """
    found: dict[Path, Input] = {}
    problems = []
    for word in map(Path, words):
        count = 0
        for candidate in _candidates(word, result_endings):
            found.setdefault(candidate.path.resolve(), candidate)
            count += 1
        if count == 0:
            problems.append(
                f"{word}: no image or video in this folder"
                if word.is_dir()
                else f"{word}: no such file or folder"
            )
    return _told_apart(list(found.values())), problems


def _candidates(word: Path, result_endings: tuple[str, ...]) -> Iterator[Input]:
    if not word.is_dir():
        if word.exists():
            yield Input(word, Path(word.stem))
        return
    for path in sorted(word.rglob("*")):
        below = path.relative_to(word)
        is_hidden = any(part.startswith(".") for part in below.parts)
        is_known = path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        is_result = path.name.endswith(result_endings)
        if path.is_file() and is_known and not is_hidden and not is_result:
            yield Input(path, below.with_suffix(""))


def _told_apart(inputs: list[Input]) -> list[Input]:
    """The same files under names that differ, also where case does not count."""
    counts = Counter(_key(one.name) for one in inputs)
    # A video's frames have a folder of its name, which may be that of photos, too.
    folders = {_key(parent) for one in inputs for parent in one.name.parents}
    counts.update(key for one in inputs if one.is_video and (key := _key(one.name)) in folders)
    taken = {name for name, count in counts.items() if count == 1}
    named = []
    for one in inputs:
        if counts[_key(one.name)] > 1:
            full = one.name.with_name(f"{one.name.name}_{one.path.suffix[1:]}")
            name, number = full, 1
            while _key(name) in taken:
                number += 1
                name = full.with_name(f"{full.name}_{number}")
            taken.add(_key(name))
            one = replace(one, name=name)
        named.append(one)
    return named


def _key(name: Path) -> str:
    return name.as_posix().casefold()
