"""The way through the package names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import ppd_core.bag


def test_the_map_of_the_package_names_each_file_once() -> None:
    assert ppd_core.bag.__doc__ is not None and ppd_core.bag.__file__ is not None
    lines = re.findall(r"^    (?! )(.*(?:\n {8}.*)*)", ppd_core.bag.__doc__, re.MULTILINE)
    heads = re.findall(r"(?:^|; )([a-z0-9_, ]+):", "\n".join(lines), re.MULTILINE)
    named = [name.strip() for head in heads for name in head.split(",")]
    files = [path.stem for path in Path(ppd_core.bag.__file__).parent.glob("*.py")]
    assert sorted([*named, "recording", "__init__"]) == sorted(files)
