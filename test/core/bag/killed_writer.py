"""Run by test_killed_writer: writes bags in children that are killed, as `kill -9` does it.

A process of its own, for a test's may have threads, and cannot fork.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    # The package without its __init__, so without torch: each of many forks would copy its pages.
    found = importlib.util.find_spec("ppd_core")
    assert found is not None
    sys.modules["ppd_core"] = importlib.util.module_from_spec(found)

from ppd_core.bag.output_names import SUFFIXES
from ppd_core.bag.typestore import typestore
from ppd_core.bag.writer import BagWriter

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect"}
NUM_MESSAGES = {"operations": 4, "instants": 40}
EVERY = {"operations": 2, "instants": 4}
STORE = typestore()
TOPIC = "/numbers"


def message(number: int, size: int) -> Any:
    header = STORE.types["std_msgs/msg/Header"](
        STORE.types["builtin_interfaces/msg/Time"](number, 0), "camera"
    )
    return STORE.types["sensor_msgs/msg/CompressedImage"](
        header, "jpeg", np.full(size, number, np.uint8)
    )


def write(folder: Path, storage: str, mode: str, tell: Callable[[int], None]) -> None:
    """Write the bag, or what of it is left to write."""
    count, size = NUM_MESSAGES[mode], 100 if mode == "operations" else 300_000
    state = BagWriter.resumed(folder) or {"written": 0}
    with BagWriter(folder, storage=storage) as writer:
        for number in range(state["written"], count):
            writer.write(TOPIC, number * 10**9, message(number, size))
            if (number + 1) % EVERY[mode] == 0 and number + 1 < count:
                writer.checkpoint({"written": number + 1})
                tell(number + 1)
        writer.close({"written": count})


def in_child(work: Callable[[Callable[[int], None]], None], delay_s: float | None = None) -> Any:
    """Fork; returns its wait status and what it told. Killed `delay_s` after its start."""
    reader, teller = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work(lambda number: os.write(teller, bytes([number])) and None)
            status = 0
        finally:
            os._exit(status)
    os.close(teller)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as stream:
        return status, list(stream.read())


def kill_before_operation(number: int, folder: Path) -> None:
    """From now on; only operations in the folder count."""
    left = number

    def count() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and str(folder) in str(args[0]):
            count()

    sys.addaudithook(hook)
    os.fsync = lambda descriptor: count()


def operations(storage: str, root: Path) -> dict[str, list[int]]:
    """Kill it before each of its file operations.

    Returns:
        A folder for each -> what was told of checkpoints until then.
    """
    outcomes = {}
    for number in range(500):
        folder = root / f"{number:03d}"
        folder.parent.mkdir(parents=True, exist_ok=True)

        def work(tell: Callable[[int], None], folder: Path = folder, number: int = number) -> None:
            kill_before_operation(number, folder)
            write(folder, storage, "operations", tell)

        status, told = in_child(work)
        outcomes[folder.name] = told
        if status == 0:
            return outcomes
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    raise AssertionError("a bag takes fewer operations")


def instants(storage: str, folder: Path) -> int:
    """Kill it at random instants, and begin again until it is done.

    Returns:
        How often it was killed.
    """
    chance = random.Random(0)
    kills = 0
    while True:
        delay_s = chance.uniform(0, 0.015) if kills < 12 else None
        status, told = in_child(lambda tell: write(folder, storage, "instants", tell), delay_s)
        if status == 0:
            return kills
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        kills += 1
        state = BagWriter.resumed(folder)
        assert (state or {"written": 0})["written"] >= max(told, default=0), (state, told)


if __name__ == "__main__":
    # It is for a loss of power, which is not tested here, and slow.
    os.fsync = lambda descriptor: None
    root = Path(sys.argv[1])
    for storage in SUFFIXES:  # What is imported and compiled once need not be in each child.
        write(root / "first" / storage, storage, "operations", lambda number: None)
    told = {
        storage: {
            "operations": operations(storage, root / storage),
            "kills": instants(storage, root / storage / "bag"),
        }
        for storage in SUFFIXES
    }
    print(json.dumps(told))
