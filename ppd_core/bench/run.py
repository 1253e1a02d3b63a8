"""Time configurations beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from ppd_core.backends.protocol import Backend
from ppd_core.bench.ceiling import measured_ceiling
from ppd_core.bench.configuration import Configuration, Way, Workload
from ppd_core.bench.rounds import frame_count, turns
from ppd_core.bench.subject import Model, Subject
from ppd_core.config import PipelineConfig
from ppd_core.pipeline import DepthPipeline

DEFAULT_SECONDS = 5.0
PASSES = 3
"""Over several workloads, so that the machine's better and worse minutes are all of theirs. All in
turns would be better still, but what a backend keeps of each size may not be enough for all."""


@dataclass(frozen=True)
class Plan:
    """What is timed.

    Args:
        model: whose networks.
        ways: how they are run, the bases among them.
        workloads: on what; all ways are timed in turns on one workload after the other,
            and that several times.
        seconds: of timed frames of each configuration, but at least three frames,
            or one that takes over a minute.
    """

    model: Model
    ways: Sequence[Way]
    workloads: Sequence[Workload]
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds must be > 0, got {self.seconds}")
        for name in ("ways", "workloads"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold one at least, got none")


@dataclass(frozen=True, eq=False)
class Measured:
    """What came of a plan.

    Attributes:
        config: of the networks.
        is_trained: False for weights that nobody trained; they cost the same.
        subjects: one of each configuration, workload by workload, in the order of the ways;
            those for which the device's memory is too small are not there.
        ceilings: dtype -> FLOP/s of a large matrix product; those that could be measured.
        facts: what each backend chose for this device; see `Backend.facts`.
    """

    config: PipelineConfig
    is_trained: bool
    subjects: list[Subject]
    ceilings: dict[torch.dtype, float]
    facts: dict[Way, dict[str, str]] = field(default_factory=dict)


def run(plan: Plan, on_progress: Callable[[str], None] = lambda _: None) -> Measured:
    """Time all of it.

    Args:
        on_progress: is told what begins.

    Raises:
        ValueError: a way cannot run here, or nothing finds enough memory.
        WeightsError: weights are not here.
    """
    plan.model.import_all()
    pipelines: dict[Way, tuple[DepthPipeline, float]] = {}
    backends: dict[Way, Backend] = {}
    for way in plan.ways:
        on_progress(f"loading {way.name}")
        start = time.perf_counter()
        pipeline, backends[way] = plan.model.build(way)
        pipelines[way] = pipeline, time.perf_counter() - start
    ceilings = {}
    for dtype in dict.fromkeys(way.dtype for way in plan.ways):
        on_progress(f"a large matrix product in {dtype}")
        ceiling = measured_ceiling(dtype, plan.model.device)
        if ceiling is not None:
            ceilings[dtype] = ceiling
    together = [
        [Subject(Configuration(way, workload), *pipelines[way]) for way in pipelines]
        for workload in plan.workloads
    ]
    passes = PASSES if len(together) > 1 else 1
    for number in range(passes):
        for subjects in together:
            _make_ready(subjects, on_progress)
            if subjects:
                _time(subjects, plan.seconds, number, passes, on_progress)
    timed = [subject for subjects in together for subject in subjects]
    if not timed:
        raise ValueError("the device has too little memory for any of it")
    pipeline = timed[0].pipeline
    facts = {way: dict(backend.facts) for way, backend in backends.items()}
    return Measured(pipeline.config, pipeline.is_trained, timed, ceilings, facts)


def _make_ready(subjects: list[Subject], on_progress: Callable[[str], None]) -> None:
    """Warm up; those that find no memory are left out, and that is told."""
    for subject in list(subjects):
        name = subject.configuration.name
        if not subject.frame_s:
            on_progress(f"warming up {name}")
        try:
            subject.warm_up()
        except torch.OutOfMemoryError:
            on_progress(f"{name} left out: the device's memory is too small")
            torch.cuda.empty_cache()
            subjects.remove(subject)


def _time(
    subjects: Sequence[Subject],
    seconds: float,
    number: int,
    passes: int,
    on_progress: Callable[[str], None],
) -> None:
    """One workload in all its ways, this pass's share of the frames."""
    of_passes = f", {number + 1} of {passes}" if passes > 1 else ""
    on_progress(f"timing {subjects[0].configuration.workload.name}{of_passes}")
    counts = [frame_count(subject.expected_s, seconds) for subject in subjects]
    shares = [count * (number + 1) // passes - count * number // passes for count in counts]
    for index in turns(shares):
        subjects[index].time_frame()
