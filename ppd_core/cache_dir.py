"""Where the package keeps on disk what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(name: str) -> Path:
    """`ppd_ros/NAME` in the user's cache ($XDG_CACHE_HOME, else ~/.cache); it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "ppd_ros" / name
