"""Reading ahead and writing behind, so that the model need not wait for a disk.

The only threads of `ppd_core` are these two.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """The items of an iterator, made in a thread before they are asked for.

    What the iterator raises is raised here, after the items that it gave. Closed before its end,
    the thread ends with the item that it is making.

    Args:
        items: used by the thread alone.
        count: how many items may wait, >= 1.
    """

    def __init__(self, items: Iterator[Item], count: int) -> None:
        self._items = items
        self._count = count
        self._ready: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        """The items in order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._is_over)
                if not self._ready:
                    break
                item = self._ready.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread and wait for it; what was not asked for is dropped."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join()
        self._ready.clear()

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._ready) < self._count or self._is_over)
                    if self._is_over:
                        return
                    self._ready.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # whatever it is, it belongs to who asks for the items
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()


class Behind:
    """Jobs done one after the other in a thread, in the order in which they were given.

    After a job has raised, no further one is done, and each call raises that error.

    Args:
        budget: how much may wait, in the unit of the jobs' sizes; a single job may be larger.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._jobs: deque[tuple[Callable[[], object], int]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], object], size: int = 0) -> None:
        """Have a job done; waits where too much is waiting. From any thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._has_room(size))
            self._raise()
            self._jobs.append((job, size))
            self._waiting += size
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all jobs are done."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs or self._error is not None)
            self._raise()

    def close(self) -> None:
        """End the thread after the job in hand and wait for it; others are dropped."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _has_room(self, size: int) -> bool:
        return self._error is not None or self._waiting + size <= self._budget

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if self._is_closed:
                    return
                job, size = self._jobs[0]
            try:
                job()
            except BaseException as error:  # whatever it is, it belongs to who gave the job
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            finally:
                del job
            with self._changed:
                self._jobs.popleft()  # Only now: `finish` waits for jobs that are done.
                self._waiting -= size
                self._changed.notify_all()
