"""What a command prints, on terminals and pipes that do not know all letters."""

from __future__ import annotations

import io
import sys


def escape_unknown_letters() -> None:
    """Print letters that stdout and stderr do not have as `\\xe9`, and do not fail at them.

    Names of files come from outside: none may end a command whose work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
