from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ppd_core.bench import run as run_module
from ppd_core.bench import subject as subject_module
from ppd_core.bench.configuration import Way, Workload
from ppd_core.bench.run import Plan, run
from ppd_core.bench.subject import WARM_UP_FRAMES, Model
from ppd_core.config import PRESETS

CPU = torch.device("cpu")
BASE, EAGER = Way("eager-autocast", torch.float16), Way("eager", torch.float32)


class FakePipeline:
    """Notes what it is asked for; each image has stages of its own."""

    def __init__(self, way: Way, calls: list) -> None:
        self.config, self.device, self.is_trained = PRESETS["nano"], CPU, True
        self.models = nn.ModuleDict()
        self._way, self._calls = way, calls

    def __call__(self, image: np.ndarray, *, num_steps: int, processing_area: int):
        self._calls.append((self._way, [image.shape], num_steps, processing_area))
        return SimpleNamespace(timings_s={"sample": 2.0, "upsample": 0.5})

    def batch(self, images, *, num_steps: int, processing_area: int):
        self._calls.append((self._way, [i.shape for i in images], num_steps, processing_area))
        return [SimpleNamespace(timings_s={"sample": 2.0, "upsample": 0.5}) for _ in images]


@pytest.fixture
def calls(monkeypatch) -> list:
    """What fake pipelines are asked for."""
    made: list = []
    backend = SimpleNamespace(facts={"attention": "sdpa"})
    monkeypatch.setattr(Model, "build", lambda self, way: (FakePipeline(way, made), backend))
    monkeypatch.setattr(Model, "import_all", lambda self: None)
    monkeypatch.setattr(run_module, "measured_ceiling", lambda dtype, device: None)
    monkeypatch.setattr(run_module, "frame_count", lambda expected_s, budget_s: 3)
    return made


def test_all_ways_take_turns_on_one_workload(calls):
    measured = run(Plan(Model("nano", CPU), [BASE, EAGER], [Workload(64, 48, 4)]))
    warm_up = [BASE] * WARM_UP_FRAMES + [EAGER] * WARM_UP_FRAMES
    assert [call[0] for call in calls] == warm_up + [BASE, EAGER] * 3
    assert calls[0][1:] == ([(48, 64, 3)], 4, 64 * 48)  # the size is the model's exactly
    assert [len(subject.frame_s) for subject in measured.subjects] == [3, 3]
    assert measured.facts[EAGER] == {"attention": "sdpa"}


def test_a_long_frame_is_enough_to_know_unless_it_was_compiled_first(calls, monkeypatch):
    monkeypatch.setattr(subject_module, "LONG_FRAME_S", 0.0)
    graph = Way("graph", torch.float32)
    run(Plan(Model("nano", CPU), [BASE, EAGER, graph], [Workload(64, 48, 4)]))
    warm_up = [BASE, EAGER] + [graph] * WARM_UP_FRAMES
    assert [call[0] for call in calls] == warm_up + [BASE, EAGER, graph] * 3


def test_several_workloads_are_timed_in_several_passes(calls):
    workloads = [Workload(64, 48, 4), Workload(32, 16, 1, batch=2)]
    measured = run(Plan(Model("nano", CPU), [EAGER], workloads))
    large, small = [(48, 64, 3)], [(16, 32, 3)] * 2
    first = WARM_UP_FRAMES + 1
    later = [*[large] * 2, *[small] * 2]  # a frame to warm up, a third of three
    assert [call[1] for call in calls] == [large] * first + [small] * first + later * 2
    assert calls[-1][2:] == (1, 32 * 16)
    assert [len(subject.frame_s) for subject in measured.subjects] == [3, 3]


def test_stages_of_a_batch_are_of_all_its_images(calls):
    measured = run(Plan(Model("nano", CPU), [EAGER], [Workload(32, 16, 1, batch=3)]))
    stages = measured.subjects[0].stages_s
    # The networks ran once for all, the rest once for each.
    assert stages == {"sample": [2.0] * 3, "upsample": [1.5] * 3}


def test_what_finds_no_memory_is_left_out_and_told(calls, monkeypatch):
    def refuse(self, images, **_: object):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(FakePipeline, "batch", refuse)
    large, told = Workload(32, 16, 1, batch=3), []
    plan = Plan(Model("nano", CPU), [EAGER], [Workload(32, 16, 1), large])
    subjects = run(plan, told.append).subjects
    assert [subject.configuration.workload.batch for subject in subjects] == [1]
    assert "fp32.eager.32x16.1.b3 left out: the device's memory is too small" in told
    with pytest.raises(ValueError, match=r"nothing could be timed; fp32.*memory is too small"):
        run(Plan(Model("nano", CPU), [EAGER], [large]))


@pytest.mark.parametrize("fails", ["building", "running"])
def test_a_way_that_fails_takes_nothing_from_the_others(calls, monkeypatch, fails):
    build, run_one = Model.build, FakePipeline.__call__

    def building(self, way):
        if way == EAGER and fails == "building":
            raise RuntimeError("no kernel image")
        return build(self, way)

    def running(self, image, **options):
        if self._way == EAGER and fails == "running":
            raise RuntimeError("no kernel image")
        return run_one(self, image, **options)

    monkeypatch.setattr(Model, "build", building)
    monkeypatch.setattr(FakePipeline, "__call__", running)
    measured = run(Plan(Model("nano", CPU), [EAGER, BASE], [Workload(32, 16, s) for s in (1, 2)]))
    assert measured.left_out == {"fp32.eager": "no kernel image"}
    assert [subject.configuration.way for subject in measured.subjects] == [BASE, BASE]


def test_what_is_measured_is_given_as_it_comes(calls):
    given = []
    run(
        Plan(Model("nano", CPU), [EAGER], [Workload(32, 16, steps) for steps in (1, 2)]),
        on_measured=lambda so_far: given.append([len(one.frame_s) for one in so_far.subjects]),
    )
    assert given == [[1], [1, 1], [2, 1], [2, 2], [3, 2], [3, 3]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0}, "seconds must be > 0, got 0"),
        ({"ways": []}, "ways must hold one at least, got none"),
        ({"workloads": []}, "workloads must hold one at least, got none"),
    ],
)
def test_a_plan_without_work_is_refused(changes, message):
    plan = {"model": Model("nano", CPU), "ways": [EAGER], "workloads": [Workload(32, 16, 1)]}
    with pytest.raises(ValueError, match=message):
        Plan(**(plan | changes))


def test_only_a_preset_is_built_at_random():
    with pytest.raises(ValueError, match="only a preset can be built at random"):
        Model("runs/mine.safetensors", CPU, is_random=True)
