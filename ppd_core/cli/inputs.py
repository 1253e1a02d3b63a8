"""What the words on a command line mean: image and video files, and the names of their results."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif"),
        *(".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
    )
)
VIDEO_SUFFIXES = frozenset(
    (
        *(".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".h264"),
        *(".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg"),
        *(".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv"),
        *(".qt", ".rm", ".rmvb", ".vob", ".webm", ".wmv", ".y4m"),
    )
)
NAMED_VIDEO_SUFFIXES = VIDEO_SUFFIXES | {".ts"}
"""Of files that are named outright: in folders, .ts is more often TypeScript."""
_MOST_NAMED = 5


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


class Found(NamedTuple):
    """What the words on a command line gave.

    Attributes:
        inputs: the files, each once.
        problems: sentences on words that gave none, and on folders that cannot be read.
        passed_over: a sentence for each folder with files that are neither picture nor video by
            their names.
    """

    inputs: list[Input]
    problems: list[str]
    passed_over: list[str]


def find_inputs(words: Iterable[str | Path], result_endings: tuple[str, ...]) -> Found:
    """Find the files that are meant, each once, in the order of the words.

    A folder is searched with its sub-folders, also those that are links, in sorted order, for
    files with a suffix of `IMAGE_SUFFIXES` or `VIDEO_SUFFIXES`; hidden ones are left out.

    Args:
        words: files and folders.
        result_endings: files in folders that end so are earlier results, and left out.

    Returns:
        The files, and what is to be said of the rest. Results are named after the
        file (in a folder: its path below the folder) without suffix; files that would share a
        name, also a video and a folder of photos, get their suffix back (`cat_jpg`, `cat_png`),
        and if that is not enough, a number.
    """
    found: dict[Path, Input] = {}
    problems: list[str] = []
    passed_over: list[str] = []
    for word in map(Path, words):
        if not word.is_dir():
            if word.exists():
                found.setdefault(word.resolve(), Input(word, Path(word.stem)))
            else:
                problems.append(f"{word}: no such file or folder")
            continue
        files = [
            path
            for path in sorted(_files_below(word, problems))
            if not (path.name.startswith(".") or path.name.endswith(result_endings))
        ]
        taken = [path for path in files if _is_known(path)]
        for path in taken:
            name = path.relative_to(word).with_suffix("")
            found.setdefault(path.resolve(), Input(path, name))
        if not taken:
            problems.append(f"{word}: no image or video in this folder")
        left = [str(path.relative_to(word)) for path in files if not _is_known(path)]
        if left:
            passed_over.append(f"{word}: passed over, as no image or video: {_some_of(left)}")
    return Found(_told_apart(list(found.values())), problems, passed_over)


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and path.is_file()


def _files_below(folder: Path, problems: list[str]) -> Iterator[Path]:
    """All files, those behind links last; no folder twice, hence no loop without end."""
    seen: set[str] = set()
    waiting = deque([str(folder)])

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read: {error.strerror}")

    while waiting:
        for parent, folders, names in os.walk(waiting.popleft(), onerror=note):
            real = os.path.realpath(parent)
            shown = [] if real in seen else [one for one in folders if not one.startswith(".")]
            links = [one for one in shown if os.path.islink(os.path.join(parent, one))]
            waiting += [os.path.join(parent, one) for one in links]
            folders[:] = [one for one in shown if one not in links]
            if real not in seen:
                yield from (Path(parent, name) for name in names)
            seen.add(real)


def _some_of(names: list[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(names) - _MOST_NAMED
    first = ", ".join(names[:_MOST_NAMED])
    return first if more <= 0 else f"{first} and {more} more"


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
