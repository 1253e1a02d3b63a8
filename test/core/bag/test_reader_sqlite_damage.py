from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from rosbags.rosbag2 import StoragePlugin

from ppd_core.bag.reader import BagReader, Gap
from ppd_core.bag.sqlite_rows import LostRows, in_rising_order

Message = tuple[str, int, bytes]
Bags = SimpleNamespace
PAGE = 4096
LEAF, INTERIOR = 0x0D, 0x05


class Recording:
    """Messages in a .db3, of which each has bytes of its own."""

    def __init__(self, bags: Bags, folder: Path, count: int = 300, padding: int = 0) -> None:
        source = random.Random(0)
        self.messages = [
            (topic, log_ns, data + source.randbytes(16 + padding))
            for topic, log_ns, data in bags.recorded(count)
        ]
        bags.rosbag2(folder, StoragePlugin.SQLITE3, messages=self.messages)
        (self.path,) = folder.glob("*.db3")
        self.content = bytearray(self.path.read_bytes())

    def pages(self, kind: int) -> list[int]:
        """Offsets of pages of the table of messages that have rows, or lead to them."""
        places = range(PAGE, len(self.content), PAGE)
        pages = [at for at in places if self.content[at] == kind]
        ends = [one[2][-16:] for one in self.messages]
        if kind == LEAF:
            rows = {self.content.index(one) // PAGE * PAGE for one in ends}
            return [at for at in pages if at in rows]
        return pages

    def outside(self, begin: int, end: int) -> list[Message]:
        """Those whose last bytes are not in that range."""
        places = [(self.content.index(one[2][-16:]), one) for one in self.messages]
        return [one for at, one in places if not begin <= at < end]

    def read(self) -> tuple[list[Message], list[Gap]]:
        self.path.write_bytes(self.content)
        return read(self.path)


def read(path: Path) -> tuple[list[Message], list[Gap]]:
    with BagReader(path) as reader:
        messages = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
        return messages, reader.gaps


@pytest.fixture
def bag(bags: Bags, tmp_path: Path) -> Recording:
    return Recording(bags, tmp_path / "b")


@pytest.mark.parametrize("which", [0, 5, -1])
def test_a_damaged_page_costs_its_rows(bag: Recording, which: int):
    at = bag.pages(LEAF)[which]
    rest = bag.outside(at, at + PAGE)
    bag.content[at : at + PAGE] = random.Random(1).randbytes(PAGE)
    messages, gaps = bag.read()
    assert messages == rest
    (gap,) = gaps
    assert "malformed" in gap.detail
    if which == 5:
        lost = len(bag.messages) - len(rest)
        assert gap.detail.startswith(f"{lost} messages are lost")
        assert gap.begin_ns is not None and gap.end_ns is not None
        assert rest[0][1] < gap.begin_ns < gap.end_ns < rest[-1][1]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 900, 3, 4], [1, (2, 2), 3, 4]),
        ([1, 2, 0, 0, 5, 6], [1, 2, (3, 4), 5, 6]),
        ([5, 0], [5, (6, None)]),
        ([1, 1, 2], [1, 2]),
    ],
)
def test_rows_whose_ids_do_not_rise_are_left_out(
    keys: list[int], expected: list[int | tuple[int, int | None]]
):
    rows = in_rising_order(iter([(key,) for key in keys]))
    assert [row[:2] if isinstance(row, LostRows) else row[0] for row in rows] == expected


def test_a_damaged_index_of_times_costs_nothing(bag: Recording):
    pages = [at for at in range(PAGE, len(bag.content), PAGE) if bag.content[at] in (0x0A, 0x02)]
    assert len(pages) > 2
    for at in pages:
        bag.content[at : at + PAGE] = bytes(PAGE)
    assert bag.read() == (bag.messages, [])


@pytest.mark.parametrize("padding", [0, 6000])
def test_damaged_pages_that_only_lead_to_others_cost_nothing(
    bags: Bags, tmp_path: Path, padding: int
):
    bag = Recording(bags, tmp_path / "b", padding=padding)
    pages = bag.pages(INTERIOR)
    assert pages
    for at in pages:
        bag.content[at : at + PAGE] = random.Random(2).randbytes(PAGE)
    messages, gaps = bag.read()
    assert messages == bag.messages
    # What came behind them cannot be known.
    (gap,) = gaps
    assert "lost but for 600 messages, which were found apart" in gap.detail


def test_a_lost_page_of_a_message_that_is_looked_for_is_told(bags: Bags, tmp_path: Path):
    bag = Recording(bags, tmp_path / "b", count=100, padding=20_000)
    lost = bag.messages[7]
    for at in [*bag.pages(INTERIOR), bag.content.index(lost[2][9000:9032]) // PAGE * PAGE]:
        bag.content[at : at + PAGE] = bytes(PAGE)
    messages, gaps = bag.read()
    assert messages == [one for one in bag.messages if one != lost]
    assert len(gaps) == 2
    gap = gaps[1]
    assert gap.detail.startswith("1 of ") and gap.detail.endswith("their pages are not all there")


def test_a_file_that_was_cut_off_gives_what_is_left(bag: Recording):
    at = bag.pages(LEAF)[6]
    rest = bag.outside(at, len(bag.content))
    del bag.content[at:]
    messages, gaps = bag.read()
    assert messages == rest
    assert [one.begin_ns for one in gaps] == [rest[-1][1]]


def test_a_lost_page_of_a_long_message_costs_that_message(bags: Bags, tmp_path: Path):
    bag = Recording(bags, tmp_path / "b", count=10, padding=20_000)
    lost = bag.messages[7]
    at = bag.content.index(lost[2][9000:9032]) // PAGE * PAGE
    bag.content[at : at + PAGE] = bytes(PAGE)
    messages, gaps = bag.read()
    assert messages == [one for one in bag.messages if one != lost]
    (gap,) = gaps
    assert gap.detail.startswith("1 of 20 messages in rows 1 to 20 are lost, ")


def test_what_is_still_in_the_log_is_read(bag: Recording, bags: Bags, tmp_path: Path):
    database = sqlite3.connect(bag.path)
    database.execute("PRAGMA journal_mode = WAL")
    late = ("/image", 10**12, bags.cdr(bags.image(1000)))
    database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", late[1:])
    database.commit()
    # The recorder is still there, so that its log is: as after a loss of power.
    folder = tmp_path / "copy"
    shutil.copytree(bag.path.parent, folder, ignore=shutil.ignore_patterns("*-shm"))
    database.close()
    before = {one: one.read_bytes() for one in folder.iterdir()}
    assert read(folder) == ([*bag.messages, late], [])
    assert {one: one.read_bytes() for one in folder.iterdir()} == before


def test_random_damage_never_raises_and_invents_nothing(bag: Recording):
    whole = bytes(bag.content)
    names = {one[0] for one in bag.messages}
    for seed in range(60):
        source = random.Random(seed)
        bag.content = bytearray(whole)
        changed = []
        for _ in range(source.choice([1, 3])):
            begin = source.randrange(PAGE, len(whole))
            end = min(begin + source.choice([1, 100, 5000]), len(whole))
            bag.content[begin:end] = source.randbytes(end - begin)
            changed.append((begin, end))
        try:
            messages, _ = bag.read()
        except ValueError as error:
            assert "must be a database of rosbag2" in str(error)
            continue
        assert {one[0] for one in messages} <= names
        assert len(set(messages)) == len(messages)
        # There are no checksums: what is given otherwise than recorded is on a damaged page.
        pages = sum((end - 1) // PAGE - begin // PAGE + 1 for begin, end in changed)
        assert len(set(messages) - set(bag.messages)) <= 20 * pages
