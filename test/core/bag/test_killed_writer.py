"""What is left of a bag when its writer is killed, or the disk fails under it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from mcap.reader import make_reader
from rosbags.rosbag1 import Reader

from ppd_core.bag.output_names import SUFFIXES
from ppd_core.bag.writer import BagWriter

SCRIPT = Path(__file__).with_name("killed_writer.py")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folder of the killed bags, and what the script tells of them."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def numbers_in(folder: Path, storage: str) -> list[int]:
    """Of the messages that others find in a bag, which are numbered by their times."""
    numbers = []
    for path in data_files(folder, storage):
        for log_ns, data in READERS[storage](path):
            assert set(data[-100:]) == {log_ns // 10**9}
            numbers.append(log_ns // 10**9)
    return numbers


def data_files(folder: Path, storage: str) -> list[Path]:
    """That the bag says it has."""
    if storage == "ros1":
        return sorted(folder.glob("*.bag"))
    document = yaml.load((folder / "metadata.yaml").read_text(), LOADER)
    return [
        folder / name for name in document["rosbag2_bagfile_information"]["relative_file_paths"]
    ]


def mcap_messages(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        for _, _, message in reader.iter_messages():
            yield message.log_time, message.data


def sqlite3_messages(path: Path) -> Iterator[tuple[int, bytes]]:
    with closing(sqlite3.connect(path)) as database:
        yield from database.execute("SELECT timestamp, data FROM messages ORDER BY timestamp")


def ros1_messages(path: Path) -> Iterator[tuple[int, bytes]]:
    with Reader(path) as reader:
        for _, log_ns, data in reader.messages():
            yield log_ns, data


READERS = {"mcap": mcap_messages, "sqlite3": sqlite3_messages, "ros1": ros1_messages}


def is_bag(folder: Path, storage: str) -> bool:
    if storage == "ros1":
        return any(folder.glob("*.bag"))
    return (folder / "metadata.yaml").exists()


def write_rest(folder: Path, storage: str) -> None:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        from killed_writer import write
    finally:
        sys.path.pop(0)
    write(folder, storage, "operations", lambda number: None)


@pytest.mark.parametrize("storage", SUFFIXES)
def test_killed_between_any_two_operations_it_has_all_of_its_last_checkpoint(
    storage, killed, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # It is slow, and not tested.
    folder, told = killed
    outcomes = told[storage]["operations"]
    assert len(outcomes) > 20
    seen = set()
    for name, checkpoints in outcomes.items():
        seen.add(check_killed(folder / storage / name, storage, max(checkpoints, default=0)))
    assert seen == {0, 2, 4}


def check_killed(folder: Path, storage: str, told: int) -> int:
    """Look at a killed bag, and write the rest; returns how many messages its progress said."""
    state = BagWriter.resumed(folder)
    written = 0 if state is None else state["written"]
    assert written >= told
    has_files = any(folder.glob("*.bag")) or (folder / "metadata.yaml").exists()
    assert has_files or not written
    if has_files:
        found = numbers_in(folder, storage)
        # A part that came to its place, but not into the progress, may be seen too.
        assert found in (list(range(written)), list(range(written + 2)))
    if state is None or not state["complete"]:
        write_rest(folder, storage)
    check_complete(folder, storage, num_parts=2, count=4)
    return written


@pytest.mark.parametrize("storage", SUFFIXES)
def test_killed_at_random_instants_and_begun_again_it_becomes_the_same_bag(storage, killed):
    folder, told = killed
    assert told[storage]["kills"] >= 2
    check_complete(folder / storage / "bag", storage, num_parts=10, count=40)


def check_complete(folder: Path, storage: str, num_parts: int, count: int) -> None:
    assert numbers_in(folder, storage) == list(range(count))
    names = {f"{folder.name}_{number}{SUFFIXES[storage]}" for number in range(num_parts)}
    beside = {"ppd_bag.json"} if storage == "ros1" else {"ppd_bag.json", "metadata.yaml"}
    # The lock outlives who is killed when all is done; it is free all the same.
    assert {path.name for path in folder.iterdir()} - {".lock"} == names | beside
    assert BagWriter.resumed(folder) == {"written": count, "complete": True}
    progress = json.loads((folder / "ppd_bag.json").read_text())
    assert {part["name"] for part in progress["parts"]} == names
    if storage != "ros1":
        document = yaml.load((folder / "metadata.yaml").read_text(), LOADER)
        information = document["rosbag2_bagfile_information"]
        assert set(information["relative_file_paths"]) == names
        assert information["message_count"] == count
