"""All threads of the package: one that works on the newest frame, one that loads. No ROS here."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

Frame = TypeVar("Frame")
Answer = TypeVar("Answer")

THREAD_PREFIX = "ppd-"
"""Every thread that this module starts has a name that begins so."""
POLL_S = 0.05


class Abandoned(Exception):  # noqa: N818 - it says what happened; nothing is wrong
    """Nobody waits for the answer any more; the job may still be running in its thread."""


class Worker(Generic[Frame]):
    """One thread behind a mailbox: it always works on the newest frame of each slot.

    A frame that still waits when a newer one comes for its slot is replaced, never queued. A
    worker lives once: `start`, any number of `put`, `stop`, `join`.

    Args:
        job: called in the thread with the frames of one group, the one whose turn it is: that of
            the frame that waits longest. The others go on waiting, and may be replaced.
        on_error: called in the thread with the exception that a job ended with; the worker goes
            on with the next frames.
        name: of the thread, after `THREAD_PREFIX`.
    """

    def __init__(
        self,
        job: Callable[[list[Frame]], None],
        on_error: Callable[[Exception], None],
        *,
        name: str = "worker",
    ) -> None:
        self._job = job
        self._on_error = on_error
        self._changed = threading.Condition()
        self._mailbox: dict[tuple[str, str], Frame] = {}
        self._is_stopping = False
        # A daemon: a job stuck in a driver must not keep a robot's process from ending.
        self._thread = threading.Thread(target=self._run, name=THREAD_PREFIX + name, daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether the thread lives; after `stop`, until the job in hand has ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: this worker was started before.
        """
        self._thread.start()

    def put(self, frame: Frame, slot: str = "", *, group: str = "") -> bool:
        """Leave a frame in a slot of the mailbox and return at once.

        Args:
            frame: to be worked on.
            slot: of the group; holds one frame.
            group: the frames that may go to the job together.

        Returns:
            True when the frame replaced one that was still waiting there. After `stop` frames
            are ignored.
        """
        with self._changed:
            if self._is_stopping:
                return False
            # Taken out first: a new frame has not waited as long as the one in its place.
            has_replaced = self._mailbox.pop((group, slot), None) is not None
            self._mailbox[group, slot] = frame
            self._changed.notify()
            return has_replaced

    def stop(self) -> list[Frame]:
        """Ask the thread to end after the job in hand; what still waits is given back."""
        with self._changed:
            self._is_stopping = True
            left = list(self._mailbox.values())
            self._mailbox.clear()
            self._changed.notify()
            return left

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, at most `timeout_s` seconds; True when it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or self._mailbox)
                if self._is_stopping:
                    return
                turn = next(iter(self._mailbox))[0]
                keys = [key for key in self._mailbox if key[0] == turn]
                frames = [self._mailbox.pop(key) for key in keys]
            try:
                self._job(frames)
            except Exception as error:
                self._report(error)
            del frames  # Else the last image stays in memory while the worker waits.

    def _report(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception:  # The thread must outlive a report that fails, and say both errors.
            traceback.print_exc()


def call_abandonable(job: Callable[[], Answer], is_abandoned: Callable[[], bool]) -> Answer:
    """Run a long job in a thread of its own and wait for it, unless it is given up meanwhile.

    The caller's thread stays in Python, so that signal handlers run even while the job sits in a
    long C call (reading two gigabytes, starting CUDA).

    Args:
        job: what to run.
        is_abandoned: asked every `POLL_S` seconds.

    Returns:
        What the job returned.

    Raises:
        Abandoned: `is_abandoned()` became true first; the thread is left to itself.
        Exception: whatever the job raised.
    """
    outcome: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(job())
        except BaseException as error:  # Handed to the waiting thread, whatever it is.
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name=THREAD_PREFIX + "loader", daemon=True)
    thread.start()
    while not concurrent.futures.wait([outcome], timeout=POLL_S).done:
        if is_abandoned():
            raise Abandoned
    thread.join()
    return outcome.result()


def threads_alive() -> list[str]:
    """Names of the threads of this module that still run."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(THREAD_PREFIX)]
