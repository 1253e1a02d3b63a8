"""Child processes that speak DDS with each other: a domain of their own, logs, deadlines."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

DOMAIN_IDS = range(1, 102)
"""Domains whose ports lie below those that Linux gives out by itself."""
END_S = 5.0
"""How long a child may take to end after SIGINT."""
POLL_S = 0.05


def free_domain_id(candidates: Iterable[int] | None = None) -> int:
    """A DDS domain that nobody on this machine uses now.

    Args:
        candidates: tried in this order; default all of `DOMAIN_IDS`, shuffled.

    Raises:
        RuntimeError: all are in use.

    Source: DDSI-RTPS 2.5, section 9.6.2.3: participants listen on port 7400 + 250 * domain.
    """
    if candidates is None:
        candidates = random.sample(DOMAIN_IDS, len(DOMAIN_IDS))
    for domain_id in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain_id))
            except OSError:
                continue
            return domain_id
    raise RuntimeError("no free ROS_DOMAIN_ID: all are in use on this machine")


def domain_environment(domain_id: int) -> dict[str, str]:
    """The environment for children in a domain that does not leave this machine.

    All else is inherited, and must be: where ROS comes from wheels, the interpreter has started
    itself a second time with `LD_LIBRARY_PATH` set and a variable that says so. A child with the
    one but not the other would not find the libraries.
    """
    # Humble has the older name; later ones would warn about it.
    is_humble = os.environ.get("ROS_DISTRO") == "humble"
    local = {"ROS_LOCALHOST_ONLY": "1"} if is_humble else {}
    return {
        **os.environ,
        **local,
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """A Python module run as a process, its output in a file.

    Args:
        name: for the log file and messages.
        module: run as `python -m module`.
        arguments: its command line.
        log_folder: where NAME.log goes.
        environment: see `domain_environment`.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        log_folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.log_path = log_folder / f"{name}.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self.log_path.read_text(errors="replace")

    def last_lines(self, count: int = 20) -> str:
        """The end of its output."""
        return "\n".join(self.output.splitlines()[-count:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; the exit status, or None when the time is up."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> int:
        """End it with SIGINT, or with SIGKILL when it does not listen; the exit status."""
        self.send(signal.SIGINT)
        if self.wait(END_S) is None:
            self.send(signal.SIGKILL)
        return self._process.wait()


@contextlib.contextmanager
def ended_children() -> Iterator[list[Child]]:
    """A list for children; those in it are ended with the block, however it ends."""
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.send(signal.SIGINT)
        for child in children:
            child.end()


def wait_for_first(
    children: Sequence[Child],
    timeout_s: float,
    *,
    is_given_up: Callable[[], bool] = lambda: False,
) -> Child | None:
    """Wait until one of the children ends, and return it; None when the time is up or given up."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s and not is_given_up():
        for child in children:
            if child.status is not None:
                return child
        time.sleep(POLL_S)
    return None
