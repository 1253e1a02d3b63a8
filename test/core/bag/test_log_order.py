from __future__ import annotations

from collections.abc import Iterable

import pytest

from ppd_core.bag import log_order
from ppd_core.bag.log_order import Block, Entry, in_log_order


def entries(*times_ns: int, size: int = 1) -> list[Entry]:
    return [Entry(at, 0, bytes(size), 0, size) for at in times_ns]


def given(*parts: list[Entry]) -> tuple[list[int], list[list[int]]]:
    """Times in the order in which they are given, and what had been given at each load."""
    done: list[int] = []
    loads: list[list[int]] = []
    blocks = [
        Block(min(one.log_ns for one in part), max(one.log_ns for one in part), None, part)
        for part in parts
    ]

    def load(block: Block) -> Iterable[Entry]:
        loads.append(done.copy())
        return block.place

    for entry in in_log_order(blocks, load):
        done.append(entry.log_ns)
    return done, loads


def test_blocks_that_overlap_are_merged():
    assert given(entries(5, 1, 9), entries(4, 6), entries(2))[0] == [1, 2, 4, 5, 6, 9]


def test_a_block_is_loaded_when_those_before_it_are_given():
    assert given(entries(1, 2), entries(3, 4), entries(5))[1] == [[], [1, 2], [1, 2, 3, 4]]


def test_equal_times_keep_the_order_of_the_file():
    first, second = entries(7, size=1), entries(7, size=2)
    blocks = [Block(7, 7, None, first), Block(7, 7, None, second)]
    got = list(in_log_order(blocks, lambda block: block.place))
    assert [one.stop for one in got] == [1, 2]


def test_a_late_message_does_not_keep_its_block():
    late = Entry(100, 0, bytes(range(100)), 40, 42)
    blocks = [Block(0, 100, None, [*entries(0), late]), Block(50, 50, None, entries(50))]
    *_, last = in_log_order(blocks, lambda block: block.place)
    assert (last.log_ns, last.buffer, last.start, last.stop) == (100, bytes([40, 41]), 0, 2)


def test_what_would_not_fit_into_memory_is_given_early(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_order, "HELD_BYTES", 25)
    order, loads = given(*(entries(0, 100, size=10) for _ in range(5)))
    assert sorted(order) == [0] * 5 + [100] * 5
    held = [2 * number - len(before) for number, before in enumerate(loads)]
    assert max(held) <= 2
