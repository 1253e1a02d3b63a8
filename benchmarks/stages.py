"""Commands run one after the other, so that none can take from another what it found."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppd_core.atomic_file import atomic_write

GRACE_S = 5.0
"""What a stage has after SIGTERM, before SIGKILL."""
SHOWN_LINES = 8


@dataclass(frozen=True)
class Stage:
    """One command.

    Args:
        name: of its log, and of what is reported of it.
        command: the words.
        limit_s: after which it is ended, with all that it started.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float


@dataclass(frozen=True)
class Ended:
    """How a stage ended.

    Attributes:
        outcome: "done", "failed" (with a status other than 0), "late" (ended at its limit) or
            "not begun" (no such program, or no time was left).
        last_line: the last that it said, or why it was not begun.
    """

    outcome: str
    seconds: float
    last_line: str = ""


def run_stages(
    stages: Sequence[Stage],
    *,
    logs: Path,
    summary: Path,
    limit_s: float,
    say: Callable[[str], None] = print,
) -> dict[str, Ended]:
    """Run them in their order, whatever becomes of those before.

    Args:
        logs: folder of NAME.log, what each stage says.
        summary: JSON, written anew after each stage: `<stage>.outcome`, `.seconds`, `.last_line`.
        limit_s: of all together; a stage gets no more than what is left of it.
        say: is told what begins and how it ended.
    """
    logs.mkdir(parents=True, exist_ok=True)
    end_s = time.monotonic() + limit_s
    all_ended: dict[str, Ended] = {}
    for stage in stages:
        say(f"{stage.name}: {' '.join(stage.command)}")
        log = logs / f"{stage.name}.log"
        ended = _run(stage, log, min(stage.limit_s, end_s - time.monotonic()))
        all_ended[stage.name] = ended
        say(f"{stage.name}: {ended.outcome} after {ended.seconds:.1f} s, {ended.last_line}")
        if ended.outcome != "done" and log.exists():
            say("\n".join(f"  | {line}" for line in _lines(log)[-SHOWN_LINES:]))
        _write(summary, all_ended)
    return all_ended


def _run(stage: Stage, log: Path, limit_s: float) -> Ended:
    if limit_s <= 0:
        return Ended("not begun", 0.0, "no time was left")
    start_s = time.monotonic()
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                stage.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its children end with it
            )
        except OSError as error:
            return Ended("not begun", 0.0, str(error))
    with _ended_group(process):
        try:
            outcome = "failed" if process.wait(limit_s) else "done"
        except subprocess.TimeoutExpired:
            outcome = "late"
    last_line = (_lines(log) or [""])[-1]
    return Ended(outcome, time.monotonic() - start_s, last_line)


@contextlib.contextmanager
def _ended_group(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leaves no process of the group behind, however the block ends."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lines(log: Path) -> list[str]:
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]


def _write(summary: Path, all_ended: dict[str, Ended]) -> None:
    content: dict[str, str | float] = {}
    for name, ended in all_ended.items():
        content[f"{name}.outcome"] = ended.outcome
        content[f"{name}.seconds"] = round(ended.seconds, 1)
        content[f"{name}.last_line"] = ended.last_line
    summary.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(summary) as stream:
        stream.write(json.dumps(content, indent=2).encode() + b"\n")
