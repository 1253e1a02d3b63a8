from __future__ import annotations

import dataclasses

import pytest

from ppd_core.frame_statistics import FATES, AlignmentStatistics
from ppd_core.health import CameraHealth, NodeHealth, alignment_status, frames_status
from ppd_core.status_report import ERROR, OK, STALE, WARN, StatusReport
from ppd_core.types import AlignedDepth, Alignment, AlignmentError

FITTED = Alignment(2.0, 0.5, "depth", "fitted", 0.01, 0.02, 0.875, 0.03, 640)
HELD = dataclasses.replace(FITTED, state="held")
TOO_FEW = AlignmentError("few_samples", "wanted 64, got 3")


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def statistics(clock):
    made = AlignmentStatistics(now_s=clock)
    made.restart("depth")
    return made


def health_of(statistics, *, counts=None, **values):
    values = {"on_failure": "nan", "hold_s": 0.5, **values}
    counts = {**dict.fromkeys(FATES, 0), **(counts or {})}
    of_node = {field.name for field in dataclasses.fields(NodeHealth)} & values.keys()
    node = {name: values.pop(name) for name in of_node}
    return CameraHealth(
        node=NodeHealth(**{"lifecycle": "active", "problem": "", **node}),
        name="",
        counts=counts,
        percentiles_ms={"sample": (10.0, 20.5)},
        alignment=statistics.health(),
        **{"now_s": 0.0, **values},
    )


def test_values_of_the_frames(statistics):
    before = health_of(statistics, counts={"in": 5, "out": 5})
    now = health_of(
        statistics,
        counts={"in": 25, "out": 20, "replaced": 5},
        now_s=2.0,
        model={"model": "nano", "device": "cpu", "dtype": "torch.float32"},
    )
    status = frames_status(now, before, "ppd")
    values = dict(status.values)
    assert (status.name, status.level, status.message) == ("ppd: frames", OK, "working")
    assert status.hardware_id == "cpu"
    assert (values["rate in (Hz)"], values["rate out (Hz)"]) == ("10.00", "7.50")
    assert {values[f"frames {fate}"] for fate in ("in", "out", "replaced")} == {"25", "20", "5"}
    assert (values["sample p50 (ms)"], values["sample p95 (ms)"]) == ("10.0", "20.5")
    assert (values["model"], values["dtype"], values["weights"]) == (
        *("nano", "torch.float32", "trained"),
    )


@pytest.mark.parametrize(
    ("values", "counts", "level", "words"),
    [
        ({}, {"replaced": 3}, OK, "working"),
        ({}, {"stale": 3, "bad": 1}, WARN, "frames dropped: 3 stale, 1 bad"),
        ({}, {"unaligned": 2}, WARN, "frames dropped: 2 unaligned"),
        ({}, {"failed": 1, "stale": 3}, ERROR, "the model failed on 1 frames"),
        (
            {"num_callback_errors": 2, "callback_error": "x raised"},
            *({}, ERROR, "2 callbacks failed: x raised"),
        ),
        ({"is_silent": True}, {}, WARN, "no image comes"),
        ({"is_trained": False}, {}, WARN, "UNTRAINED"),
        ({"fallbacks": ("eager runs in place of graph",)}, {}, WARN, "in place of graph"),
        ({"lifecycle": "inactive"}, {}, STALE, "not working: inactive"),
        ({"lifecycle": "unconfigured", "problem": "no file"}, {}, ERROR, "no file"),
    ],
)
def test_level_of_the_frames(statistics, values, counts, level, words):
    status = frames_status(
        health_of(statistics, counts=counts, **values), health_of(statistics), "ppd"
    )
    assert status.level == level
    assert words in status.message


def test_drops_of_long_ago_are_no_warning(statistics):
    dropped = health_of(statistics, counts={"stale": 3})
    assert frames_status(dropped, dropped, "ppd").level == OK


def test_values_of_the_alignment(statistics, clock):
    statistics.record(AlignedDepth(None, FITTED))
    clock.now_s += 0.25
    statistics.record(AlignedDepth(None, HELD, TOO_FEW))
    status = alignment_status(health_of(statistics), "robot1/ppd")
    assert status.name == "robot1/ppd: alignment"
    values = dict(status.values)
    assert values.pop("failure").endswith("wanted 64, got 3")
    assert values == {
        "source": "depth",
        "state": "held",
        "on_failure": "nan",
        "sensor messages bad": "0",
        "age of last good (s)": "0.25",
        "scale": "2",
        "shift": "0.5",
        "scale_std": "0.01",
        "shift_std": "0.02",
        "inlier_ratio": "0.875",
        "rmse_m": "0.03",
        "samples": "640",
        "field": "False",
        "failures few_samples": "1",
    }


def test_level_of_the_alignment_as_a_sensor_comes_goes_and_comes_back(statistics, clock):
    def level():
        return alignment_status(health_of(statistics), "ppd").level

    assert level() == OK  # no frame yet
    statistics.record(AlignedDepth(None, FITTED))
    assert level() == OK
    clock.now_s += 0.2
    statistics.record(AlignedDepth(None, HELD, TOO_FEW))
    assert level() == WARN
    clock.now_s += 0.2
    statistics.record(AlignedDepth(None, None, TOO_FEW))
    assert level() == WARN
    clock.now_s += 0.2
    statistics.record(AlignedDepth(None, None, TOO_FEW))
    assert level() == ERROR
    statistics.record(AlignedDepth(None, FITTED))
    assert level() == OK
    assert dict(statistics.health().failures) == {"few_samples": 3}


def test_relative_depth_is_ok_and_said(statistics):
    statistics.restart("none")
    status = alignment_status(health_of(statistics), "ppd")
    assert status.level == OK
    assert "NOT in metres" in status.message


def test_restart_forgets_the_state_and_keeps_the_counts(statistics):
    statistics.record(AlignedDepth(None, None, TOO_FEW))
    statistics.restart("depth")
    health = statistics.health()
    assert (health.state, health.failure) == ("waiting", "")
    assert dict(health.failures) == {"few_samples": 1}


def test_a_report_of_no_level_is_refused():
    with pytest.raises(ValueError, match="level must be 0, 1, 2 or 3, got 4"):
        StatusReport("ppd", 4, "")
