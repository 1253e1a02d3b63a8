"""READ FIRST. A run from its config to its checkpoints.

`ppd train CONFIG`, or the same under `accelerate launch` for several GPUs or machines.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import cv2
from accelerate import Accelerator

from ppd_core.stop_signals import StopSignals
from ppd_core.training.checkpoints import list_checkpoints, step_of
from ppd_core.training.config import TrainConfig
from ppd_core.training.journal import Journal
from ppd_core.training.run import Run, TrainingError
from ppd_core.training.validation import Validator


def train(
    config: TrainConfig, output: str | Path, *, resume: bool = False, limit: int | None = None
) -> int:
    """Train until the config's last step.

    Args:
        config: of the run.
        output: folder that gets checkpoints, `log.jsonl`, TensorBoard files and the model.
        resume: go on after the newest checkpoint in there, if there is one; without it a folder
            with checkpoints is refused.
        limit: stop after this step already; the schedules stay as they are.

    Returns:
        0, or the number of the signal (SIGINT, SIGTERM) that ended the run after its step; a
        checkpoint has been written in both cases.

    Raises:
        ValueError, OSError, RuntimeError: one clear sentence; the last checkpoint is intact.
    """
    # Workers are forked, and OpenCV's own threads do not survive that.
    cv2.setNumThreads(0)
    output = Path(output)
    found = list_checkpoints(output)
    if found and not resume:
        raise TrainingError(
            f"{output} holds a run up to step {step_of(found[-1])}: --resume goes on with it, "
            "or name another folder"
        )
    output.mkdir(parents=True, exist_ok=True)
    # The precision is the config's, not that of accelerate's own: see `Run.autocast`.
    run = Run(config, output, Accelerator(mixed_precision="no"))
    changes = run.load(found[-1]) if found else []
    stop_step = config.steps if limit is None else min(limit, config.steps)
    is_main = run.accelerator.is_main_process
    with (
        Journal(output, run.step, stop_step, is_main) as journal,
        StopSignals() as signals,
    ):
        if changes:
            journal.tell(f"not as it was before: {'; '.join(changes)}")
        return _loop(run, journal, signals, stop_step)


def _loop(run: Run, journal: Journal, signals: StopSignals, stop_step: int) -> int:
    config = run.config
    validator = Validator(config, run.models, run.accelerator.device)
    with closing(run.batches(stop_step)) as batches:
        run.start_window()
        while run.step < stop_step:
            run.train_step(batches)
            journal.advance()
            received = run.largest(signals.received)  # One of several processes may have got it.
            is_last = run.step == stop_step
            if run.step % config.log_every == 0:
                journal.scalars(run.step, run.end_window())
            if not received and (is_last or run.step % config.validation.every == 0):
                _validate(run, journal, validator)
            if received or is_last or run.step % config.checkpoints.every == 0:
                run.save()
            if received:
                journal.tell(f"stopped after step {run.step}; --resume goes on")
                return received
    return 0


def _validate(run: Run, journal: Journal, validator: Validator) -> None:
    start_s = time.perf_counter()
    if journal.is_main and validator.is_wanted:
        with run.autocast():
            figures, pictures = validator.run(run.average)
        journal.scalars(run.step, figures, "validation")
        for name, picture in pictures.items():
            journal.picture(run.step, name, picture)
    run.accelerator.wait_for_everyone()
    run.pause(time.perf_counter() - start_s)
