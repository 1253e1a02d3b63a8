"""A data set of simulated RGB-D frames, written by several processes, shard by shard.

What a shard holds depends on the `DatasetConfig` and the shard's number alone, so it does not
matter which process writes it, or in which run. A shard that is there is complete; a run that was
interrupted goes on with those that are missing.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from filelock import FileLock, Timeout

from ppd_core.data.shards import DepthSample, shard_name, write_shard
from ppd_core.sim.dataset import MANIFEST_NAME, DatasetConfig, write_manifest
from ppd_core.sim.depth_sensor import DepthSensorConfig, sense_depth
from ppd_core.sim.scenes import build_scene, draw_views

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Event

    from ppd_core.sim.camera import RgbdCamera, RgbdFrame
    from ppd_core.sim.scenes import Scene

_LOCK_NAME = ".generate.lock"
_PROGRESS_INTERVAL_S = 0.2


class GenerationError(RuntimeError):
    """The data set could not be completed; what is there is intact, and a new run continues."""


@dataclass(frozen=True)
class GenerationResult:
    """What one run did.

    Attributes:
        frames_written: by this run.
        frames_found: already there.
        seconds: wall time, with the start of the processes.
    """

    frames_written: int
    frames_found: int
    seconds: float

    @property
    def frames_per_s(self) -> float:
        """Frames written a second, with the start of the processes."""
        return self.frames_written / self.seconds


def generate(
    folder: str | Path,
    config: DatasetConfig,
    *,
    processes: int | None = None,
    on_progress: Callable[[int], None] = lambda frames: None,
) -> GenerationResult:
    """Write the shards of a data set that are missing, and its manifest `dataset.json`.

    The processes are spawned, each with a GL context of its own: a script that calls this must
    guard its start by `if __name__ == "__main__"`.

    Args:
        folder: made if missing.
        config: what to write.
        processes: how many write at a time; default one a core.
        on_progress: called every now and then with the frames that are there, found ones too.

    Raises:
        ValueError: the folder is not writable, holds another data set, or another run is at it.
        RenderingUnavailableError: this machine cannot render, or not frames of this size.
        GenerationError: a process died, or the disk failed.
        KeyboardInterrupt: after all processes have stopped and unfinished shards are removed.
    """
    start = time.monotonic()
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be >= 1, got {processes}")
    folder = Path(folder)
    with _locked(folder):
        try:
            write_manifest(folder, config)
        except OSError as error:
            name = folder / MANIFEST_NAME
            raise GenerationError(f"cannot write {name}: {error.strerror}") from error
        _remove_unfinished(folder)
        missing = [
            index
            for index in range(config.shard_count)
            if not (folder / shard_name(index)).exists()
        ]
        frames_written = sum(map(config.frames_in_shard, missing))
        frames_found = config.count - frames_written
        on_progress(frames_found)
        if missing:
            try:
                _write_missing(
                    folder,
                    config,
                    missing,
                    min(processes or os.cpu_count() or 1, len(missing)),
                    lambda frames: on_progress(frames_found + frames),
                )
            finally:
                _remove_unfinished(folder)
    return GenerationResult(frames_written, frames_found, time.monotonic() - start)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / _LOCK_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run is writing to {folder}") from None
    except OSError as error:
        raise ValueError(f"cannot write to folder {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _remove_unfinished(folder: Path) -> None:
    """What a killed process left: nobody else writes here, the folder is locked."""
    for path in folder.glob(".*.part"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.part", path.name):
            path.unlink(missing_ok=True)


def _write_missing(
    folder: Path,
    config: DatasetConfig,
    missing: list[int],
    processes: int,
    on_progress: Callable[[int], None],
) -> None:
    spawn = multiprocessing.get_context("spawn")  # a forked GL driver is undefined
    stop, frames = spawn.Event(), spawn.Value("q", 0)
    executor = ProcessPoolExecutor(
        processes, spawn, initializer=_start_worker, initargs=(folder, config, stop, frames)
    )
    try:
        with _interrupts_held():
            waiting = {executor.submit(_write_one, index) for index in missing}
        while waiting:
            done, waiting = wait(waiting, _PROGRESS_INTERVAL_S, FIRST_COMPLETED)
            for future in done:
                future.result()
            on_progress(frames.value)
    except BrokenProcessPool as error:
        raise GenerationError(
            "a process died while it rendered (out of memory, or the graphics driver); "
            "fewer --processes may help, and the same command continues"
        ) from error
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that never get the terminal's Ctrl-C; ours comes when the block ends.

    It reaches the whole group, but the parent alone decides, by `stop`. A worker that ignored it
    by itself would do so only after seconds of imports, and until then end in a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Worker:
    """What a process keeps from shard to shard."""

    folder: Path
    config: DatasetConfig
    stop: Event
    frames: Synchronized[int]
    camera: RgbdCamera | None = None


_worker: _Worker | None = None


class _StoppedError(Exception):
    """Ends a shard that is no longer wanted."""


def _start_worker(
    folder: Path, config: DatasetConfig, stop: Event, frames: Synchronized[int]
) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where `_interrupts_held` cannot hold it
    cv2.setNumThreads(1)  # the processes share the cores already
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _Worker(folder, config, stop, frames)


def _end_with_parent() -> None:
    """A killed parent must not leave processes that wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write_one(index: int) -> None:
    from ppd_core.sim.camera import RgbdCamera

    worker = _worker
    assert worker is not None, "runs in a started worker"
    if worker.stop.is_set():
        raise _StoppedError
    if worker.camera is None:
        worker.camera = RgbdCamera(worker.config.width, worker.config.height)
    path = worker.folder / shard_name(index)

    def counted() -> Iterator[DepthSample]:
        assert worker is not None and worker.camera is not None
        for sample in samples_of_shard(worker.config, index, worker.camera):
            yield sample
            with worker.frames.get_lock():
                worker.frames.value += 1
            if worker.stop.is_set():
                raise _StoppedError

    try:
        write_shard(path, counted())
    except OSError as error:
        raise GenerationError(f"cannot write {path}: {error.strerror}") from error


def samples_of_shard(
    config: DatasetConfig, index: int, camera: RgbdCamera
) -> Iterator[DepthSample]:
    """Make the samples of shard `index`, one at a time."""
    scenes = slice(index * config.scenes_per_shard, (index + 1) * config.scenes_per_shard)
    left = config.frames_in_shard(index)
    for seed in config.scene_seeds[scenes]:
        scene = build_scene(seed)
        views = draw_views(scene, min(left, config.views_per_scene))
        for number, view in enumerate(views):
            left -= 1
            yield _sample(scene, number, camera.render(scene, view), config.sensor)


def _sample(scene: Scene, number: int, frame: RgbdFrame, sensor: DepthSensorConfig) -> DepthSample:
    rng = np.random.default_rng([scene.seed, number])
    k = frame.intrinsics
    camera = {
        **{name: getattr(k, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "camera_to_world": frame.camera_to_world.tolist(),
        "scene_seed": scene.seed,
        "scene_kind": scene.kind,
        "view": number,
    }
    return DepthSample(
        key=f"{scene.seed:09d}-{number:02d}",
        image=frame.image,
        depth=frame.depth,
        sensor_depth=sense_depth(frame.depth, frame.image, k, sensor, rng),
        camera=camera,
    )
