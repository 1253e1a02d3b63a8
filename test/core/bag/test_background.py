"""The threads of a run: order, bounds, errors, and an end that is always reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ppd_core.bag.background import Ahead, Behind

DEADLINE_S = 10.0


def test_ahead_gives_all_items_in_order() -> None:
    assert list(Ahead(iter(range(100)), 3)) == list(range(100))


def test_ahead_makes_no_more_than_may_wait() -> None:
    made, is_third_wanted = [], threading.Event()

    def items() -> Iterator[int]:
        for index in range(10):
            made.append(index)
            if index == 2:
                is_third_wanted.set()
            yield index

    ahead = Ahead(items(), 2)
    assert is_third_wanted.wait(DEADLINE_S)  # Two wait, and one is in the thread's hand.
    ahead.close()
    assert made == [0, 1, 2]


def test_ahead_raises_after_the_items_that_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    got: list[int] = []
    with pytest.raises(OSError, match="disk"):
        got.extend(Ahead(items(), 4))
    assert got == [1]


def test_behind_does_jobs_in_order_and_finish_waits_for_them() -> None:
    done: list[int] = []
    behind = Behind(budget=10)
    for index in range(50):
        behind.do(lambda index=index: done.append(index), size=4)
    behind.finish()
    assert done == list(range(50))
    behind.close()


def test_behind_holds_back_who_gives_too_much() -> None:
    go = threading.Event()
    behind = Behind(budget=10)
    behind.do(lambda: go.wait(DEADLINE_S), size=6)
    giver = threading.Thread(target=behind.do, args=(lambda: None, 6))
    giver.start()
    giver.join(0.2)
    assert giver.is_alive()
    go.set()
    giver.join(DEADLINE_S)
    assert not giver.is_alive()
    behind.close()


def test_behind_takes_one_job_that_is_larger_than_the_budget() -> None:
    behind = Behind(budget=10)
    behind.do(lambda: None, size=100)
    behind.do(lambda: None, size=100)
    behind.finish()
    behind.close()


def test_behind_tells_the_error_of_a_job_and_does_none_after_it() -> None:
    def fail() -> None:
        raise OSError("no space left")

    done: list[int] = []
    behind = Behind(budget=10)
    behind.do(fail, size=20)
    with pytest.raises(OSError, match="no space"):
        behind.do(lambda: done.append(1), size=20)  # There is no room until the first has ended.
    with pytest.raises(OSError, match="no space"):
        behind.finish()
    behind.close()
    assert done == []
