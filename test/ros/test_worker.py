from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from ppd_ros.worker import Abandoned, Worker, call_abandonable, threads_alive

DEADLINE_S = 10.0


class Job:
    """A job that notes its frames, and may be held until the test lets it go on."""

    def __init__(self, *, is_held=False):
        self.frames = []
        self.errors = []
        self.started = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.release = threading.Event()
        if not is_held:
            self.release.set()

    def __call__(self, frames):
        self.frames.append(frames)
        self.started.release()
        assert self.release.wait(DEADLINE_S)
        self.ended.release()
        if isinstance(frames[0], Exception):
            raise frames[0]

    def worker(self):
        return Worker(self, self.errors.append)


@pytest.fixture
def make_job():
    jobs = []

    def make(**options):
        jobs.append(Job(**options))
        return jobs[-1]

    yield make
    for job in jobs:
        job.release.set()
    deadline_s = time.monotonic() + DEADLINE_S
    while threads_alive() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threads_alive() == []


def test_worker_works_on_what_is_put(make_job):
    job = make_job()
    worker = job.worker()
    worker.start()
    assert worker.put("a") is False
    assert job.ended.acquire(timeout=DEADLINE_S)
    worker.put("b")
    assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert job.frames == [["a"], ["b"]]


def test_waiting_frame_is_replaced_never_queued(make_job):
    job = make_job(is_held=True)
    worker = job.worker()
    worker.start()
    worker.put(1)
    assert job.started.acquire(timeout=DEADLINE_S)
    assert [worker.put(frame) for frame in (2, 3, 4)] == [False, True, True]
    job.release.set()
    for _ in range(2):
        assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert job.frames == [[1], [4]]


def test_the_newest_of_each_slot_go_to_the_job_at_once(make_job):
    job = make_job(is_held=True)
    worker = job.worker()
    worker.start()
    worker.put(1, "left")
    assert job.started.acquire(timeout=DEADLINE_S)
    waiting = [("right", 2), ("left", 3), ("right", 4)]
    assert [worker.put(frame, slot) for slot, frame in waiting] == [False, False, True]
    job.release.set()
    for _ in range(2):
        assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert job.frames == [[1], [3, 4]]


def test_one_group_is_worked_on_while_the_others_go_on_waiting(make_job):
    job = make_job(is_held=True)
    worker = job.worker()
    worker.start()
    worker.put(1, "left")
    assert job.started.acquire(timeout=DEADLINE_S)
    worker.put(2, "left")
    worker.put("asked for", group="once")
    # Newer than what was asked for, though its slot is not.
    assert worker.put(3, "left")
    job.release.set()
    for _ in range(3):
        assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert job.frames == [[1], ["asked for"], [3]]


def test_stop_drops_the_waiting_frame_and_ends_after_the_one_in_hand(make_job):
    job = make_job(is_held=True)
    worker = job.worker()
    worker.start()
    worker.put("in hand")
    assert job.started.acquire(timeout=DEADLINE_S)
    worker.put("waiting")
    assert worker.stop() == ["waiting"]
    assert worker.join(0.05) is False
    assert worker.is_running
    job.release.set()
    assert worker.join(DEADLINE_S)
    assert not worker.is_running
    assert job.frames == [["in hand"]]


def test_stop_ends_an_idle_worker(make_job):
    worker = make_job().worker()
    worker.start()
    worker.stop()
    assert worker.join(DEADLINE_S)


def test_put_after_stop_is_ignored(make_job):
    job = make_job()
    worker = job.worker()
    worker.start()
    worker.stop()
    assert worker.put("late") is False
    assert worker.join(DEADLINE_S)
    assert job.frames == []


def test_error_is_reported_and_the_worker_goes_on(make_job):
    job = make_job()
    worker = job.worker()
    worker.start()
    trouble = RuntimeError("out of memory")
    worker.put(trouble)
    assert job.ended.acquire(timeout=DEADLINE_S)
    # Until the error is handled the thread does not look into the mailbox.
    worker.put("next")
    assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert job.errors == [trouble]
    assert job.frames == [[trouble], ["next"]]


def test_worker_outlives_a_report_that_fails(make_job, capfd):
    job = make_job()

    def report(error):
        raise OSError("the log is full")

    worker = Worker(job, report)
    worker.start()
    worker.put(RuntimeError("out of memory"))
    assert job.ended.acquire(timeout=DEADLINE_S)
    worker.put("next")
    assert job.ended.acquire(timeout=DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)
    said = capfd.readouterr().err
    assert "RuntimeError: out of memory" in said
    assert "OSError: the log is full" in said


def test_worker_starts_once(make_job):
    worker = make_job().worker()
    worker.start()
    worker.stop()
    assert worker.join(DEADLINE_S)
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        worker.start()


def test_idle_worker_keeps_no_frame(make_job):
    class Frame:
        pass

    ended = threading.Event()
    worker = Worker(lambda frames: ended.set(), pytest.fail)
    worker.start()
    frame = Frame()
    gone = weakref.ref(frame)
    worker.put(frame)
    del frame
    assert ended.wait(DEADLINE_S)
    deadline_s = time.monotonic() + DEADLINE_S
    while gone() is not None and time.monotonic() < deadline_s:
        gc.collect()
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert gone() is None


def test_idle_worker_costs_no_processor_time(make_job):
    worker = make_job().worker()
    worker.start()
    clock = time.pthread_getcpuclockid(worker._thread.ident)
    worker.join(0.5)
    used_s = time.clock_gettime(clock)
    worker.stop()
    assert worker.join(DEADLINE_S)
    assert used_s < 0.1


def test_no_thread_is_left_after_many_rounds(make_job):
    for _ in range(20):
        job = make_job()
        worker = job.worker()
        worker.start()
        worker.put("frame")
        worker.stop()
        assert worker.join(DEADLINE_S)
    assert threads_alive() == []


def test_threads_alive_names_a_running_worker(make_job):
    worker = make_job().worker()
    worker.start()
    assert threads_alive() == ["ppd-worker"]
    worker.stop()
    assert worker.join(DEADLINE_S)


def test_call_returns_the_jobs_answer_and_leaves_no_thread():
    assert call_abandonable(lambda: 42, lambda: False) == 42
    assert threads_alive() == []


def test_call_runs_the_job_in_another_thread():
    assert call_abandonable(threading.get_ident, lambda: False) != threading.get_ident()


def test_call_raises_what_the_job_raised():
    def fail():
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        call_abandonable(fail, lambda: False)


def test_call_that_is_given_up_returns_at_once_and_the_job_runs_on(make_job):
    job = make_job(is_held=True)
    is_abandoned = threading.Event()
    asked = []

    def ask():
        asked.append(None)
        is_abandoned.set()
        return len(asked) > 2

    with pytest.raises(Abandoned):
        call_abandonable(lambda: job("load"), ask)
    assert is_abandoned.is_set()
    assert threads_alive() == ["ppd-loader"]
