from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppd_core.training.journal import LOG_NAME, Journal


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / LOG_NAME).read_text().splitlines()]


def test_figures_come_back_exactly(tmp_path: Path) -> None:
    with Journal(tmp_path, 0, 10, is_main=True) as journal:
        journal.scalars(5, {"loss": 1 / 3})
        journal.scalars(5, {"absrel": 0.1}, "validation")
    assert lines(tmp_path) == [
        {"step": 5, "loss": 1 / 3},
        {"step": 5, "validation": {"absrel": 0.1}},
    ]


def test_what_a_killed_run_logged_after_its_checkpoint_is_dropped(tmp_path: Path) -> None:
    with Journal(tmp_path, 0, 10, is_main=True) as journal:
        for step in (1, 2, 3):
            journal.scalars(step, {"loss": 1.0})
    with (tmp_path / LOG_NAME).open("a") as log:
        log.write('{"step": 2, "lo')  # cut off
    with Journal(tmp_path, 2, 10, is_main=True) as journal:
        journal.scalars(3, {"loss": 2.0})
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
    ]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, 0, 10, is_main=False) as journal:
        journal.scalars(1, {"loss": 1.0})
        journal.tell("nothing")
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_same(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    with Journal(tmp_path, 0, 10, is_main=True) as journal:
        journal.scalars(5, {"loss": 0.25})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(5, 0.25)]
