"""Ctrl-C and SIGTERM: kept until the step is done, or an end that tidies up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 5.0
"""A signal again after this long ends the program at once. Not sooner: `timeout` and terminals
send one twice."""


class StopSignals:
    """While it is open, a first signal does not end the program; `received` tells of it."""

    def __init__(self) -> None:
        self._number = 0
        self._since_s = 0.0

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._keep) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        if not self._number:
            self._number, self._since_s = number, time.monotonic()
        elif time.monotonic() - self._since_s > PATIENCE_S:
            self._restore()
            os.kill(os.getpid(), number)

    @property
    def received(self) -> int:
        """The signal that came, or 0."""
        return self._number


@contextmanager
def tidy_sigterm() -> Iterator[None]:
    """While it is open, SIGTERM ends the program as an exception does, so that files that are
    not complete are removed; the exit status is the shell's, 143.
    """
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
