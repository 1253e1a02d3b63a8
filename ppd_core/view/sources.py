"""Sources of frames that other packages bring, such as live topics."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from importlib.metadata import entry_points

from ppd_core.view.frame import ViewFrame

GROUP = "ppd_core.view_sources"
"""Entry points of this group name an `OpenSource`; the word of the command line is their name."""

OpenSource = Callable[[Sequence[str], str], Generator[ViewFrame, None, None]]
"""Takes the words that the command line has for the source, and the name of the world's frame or
""; gives frames until it is closed. Raises ValueError with a sentence where it cannot."""

_added: dict[str, OpenSource] = {}


def add_source(name: str, open_source: OpenSource) -> None:
    """Name a source where no package metadata does, as after a colcon build."""
    _added[name] = open_source


def source_names() -> set[str]:
    """The words that name a source."""
    return {*_added, *(found.name for found in entry_points(group=GROUP))}


def find_source(name: str) -> OpenSource:
    """The source of that name.

    Raises:
        ValueError: there is none, or what it needs is not installed.
    """
    if name in _added:
        return _added[name]
    for found in entry_points(group=GROUP, name=name):
        try:
            source: OpenSource = found.load()
        except ImportError as error:
            raise ValueError(f"the source {name} cannot be used here: {error}") from error
        return source
    raise ValueError(f"no installed package has a source {name!r}")
