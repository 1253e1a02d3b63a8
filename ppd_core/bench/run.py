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
from ppd_core.weights import WeightsError

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
            those that were left out are not there.
        ceilings: dtype -> FLOP/s of a large matrix product; those that could be measured.
        facts: what each backend chose for this device; see `Backend.facts`.
        left_out: name of a configuration or of a whole way -> why it could not run.
    """

    config: PipelineConfig
    is_trained: bool
    subjects: list[Subject]
    ceilings: dict[torch.dtype, float]
    facts: dict[Way, dict[str, str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def run(
    plan: Plan,
    on_progress: Callable[[str], None] = lambda _: None,
    on_measured: Callable[[Measured], None] = lambda _: None,
) -> Measured:
    """Time all of it.

    Args:
        on_progress: is told what begins.
        on_measured: is given what has been measured so far, whenever it is more.

    A way that fails is left out, and that is told: the others are worth having without it. Of one
    that only finds no memory, its smaller workloads stay.

    Raises:
        ValueError: none of the ways could run; it says why each.
        WeightsError: weights are not here.
    """
    plan.model.import_all()
    left_out: dict[str, str] = {}

    def leave_out(name: str, reason: str) -> None:
        left_out[name] = reason
        on_progress(f"{name} left out: {reason}")

    built = _build(plan, on_progress, leave_out)
    ceilings = _ceilings(plan, on_progress)
    together = [
        [Subject(Configuration(way, workload), *built[way][1:]) for way in built]
        for workload in plan.workloads
    ]

    def so_far() -> Measured:
        # A pass may leave the only frame of a slow one to the next.
        timed = [subject for subjects in together for subject in subjects if subject.frame_s]
        if not timed:
            reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
            raise ValueError(f"nothing could be timed; {'; '.join(reasons)}")
        pipeline = timed[0].pipeline
        facts = {way: dict(backend.facts) for way, (backend, *_) in built.items()}
        return Measured(
            pipeline.config, pipeline.is_trained, timed, ceilings, facts, dict(left_out)
        )

    passes = PASSES if len(together) > 1 else 1
    for number in range(passes):
        for subjects in together:
            _make_ready(subjects, together, on_progress, leave_out)
            if subjects:
                _time(subjects, plan.seconds, number, passes, on_progress)
            if any(subject.frame_s for subject in subjects):
                on_measured(so_far())
    return so_far()


def _build(
    plan: Plan, on_progress: Callable[[str], None], leave_out: Callable[[str, str], None]
) -> dict[Way, tuple[Backend, DepthPipeline, float]]:
    """Each way's backend and pipeline, and the seconds that they took."""
    built = {}
    for way in plan.ways:
        on_progress(f"loading {way.name}")
        start = time.perf_counter()
        try:
            pipeline, backend = plan.model.build(way)
        except WeightsError:
            raise
        except Exception as error:  # a compiler or a driver may raise anything
            leave_out(way.name, str(error))
            continue
        built[way] = backend, pipeline, time.perf_counter() - start
    return built


def _ceilings(plan: Plan, on_progress: Callable[[str], None]) -> dict[torch.dtype, float]:
    ceilings = {}
    for dtype in dict.fromkeys(way.dtype for way in plan.ways):
        on_progress(f"a large matrix product in {dtype}")
        ceiling = measured_ceiling(dtype, plan.model.device)
        if ceiling is not None:
            ceilings[dtype] = ceiling
    return ceilings


def _make_ready(
    subjects: list[Subject],
    together: Sequence[list[Subject]],
    on_progress: Callable[[str], None],
    leave_out: Callable[[str, str], None],
) -> None:
    """Warm up one workload in all its ways; what fails is taken out."""
    for subject in list(subjects):
        name, way = subject.configuration.name, subject.configuration.way
        if not subject.frame_s:
            on_progress(f"warming up {name}")
        try:
            subject.warm_up()
        except torch.OutOfMemoryError:
            leave_out(name, "the device's memory is too small")
            torch.cuda.empty_cache()
            subjects.remove(subject)
        except Exception as error:  # as in _build
            leave_out(way.name, str(error))
            for of_workload in together:
                of_workload[:] = [one for one in of_workload if one.configuration.way != way]


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
