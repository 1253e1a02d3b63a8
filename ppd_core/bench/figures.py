"""From what was measured to figures."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ppd_core.bench.configuration import BASES, PRECISIONS, Workload
from ppd_core.bench.floors import frame_cost
from ppd_core.bench.growth import fitted_exponent, fitted_slope
from ppd_core.bench.run import Measured
from ppd_core.bench.subject import Subject
from ppd_core.config import PipelineConfig

Fit = Callable[[Sequence[float], Sequence[float]], float]


def figures_of(measured: Measured) -> dict[str, float]:
    """Every figure by name: `<precision>.<backend>.<w>x<h>.<steps>.<figure>`, flat.

    What cannot be known is not there: memory where the system does not tell it, the ceiling of a
    product that torch does not have, growth where nothing grows.
    """
    figures: dict[str, float] = {}
    for subject in measured.subjects:
        ceiling = measured.ceilings.get(subject.configuration.way.dtype)
        own = _own_figures(subject, measured.config, ceiling)
        own |= _ratios(subject, measured.subjects)
        prefix = subject.configuration.name
        figures |= {f"{prefix}.{name}": value for name, value in own.items()}
    figures |= growth_figures(measured.subjects)
    for dtype, ceiling in measured.ceilings.items():
        figures[f"{PRECISIONS[dtype]}.ceiling_tflops"] = ceiling / 1e12
    return figures


def p50_s(subject: Subject) -> float:
    """The median time of a frame."""
    return statistics.median(subject.frame_s)


def flop_of(workload: Workload, config: PipelineConfig) -> int:
    """Of one timed frame, however it is run; see `floors.frame_cost`."""
    size = workload.height, workload.width
    return frame_cost(config, *size, workload.num_steps, workload.batch).flop


def _own_figures(
    subject: Subject, config: PipelineConfig, ceiling: float | None
) -> dict[str, float]:
    workload, median_s = subject.configuration.workload, p50_s(subject)
    flop_per_s = flop_of(workload, config) / median_s
    figures = {
        "p50_ms": 1e3 * median_s,
        "p95_ms": 1e3 * float(np.percentile(subject.frame_s, 95)),
        "frames": len(subject.frame_s),
        "frames_per_s": workload.batch / median_s,
        "tflops": flop_per_s / 1e12,
        "start_s": subject.load_s + subject.first_frame_s,
    }
    if ceiling is not None:
        figures["ceiling_share"] = flop_per_s / ceiling
    if subject.peak_bytes is not None:
        figures["peak_mb"] = subject.peak_bytes / 1e6
    stages = {
        f"{stage}_ms": 1e3 * statistics.median(seconds)
        for stage, seconds in subject.stages_s.items()
    }
    return figures | stages


def _ratios(subject: Subject, subjects: Sequence[Subject]) -> dict[str, float]:
    """How many times faster it is than each base on the same workload."""
    own = subject.configuration
    return {
        f"ratio_to_{base.backend.replace('-', '_')}": p50_s(other) / p50_s(subject)
        for other in subjects
        if (base := other.configuration.way).backend in BASES
        and other.configuration.workload == own.workload
        and base != own.way
    }


def growth_figures(subjects: Sequence[Subject]) -> dict[str, float]:
    """How p50 grows with one of pixels, steps and images, where only that one differs."""
    laws: dict[str, tuple[Callable[[Workload], float], Callable[[Workload], str], Fit]] = {
        "pixel_exponent": (
            lambda workload: workload.pixels,
            lambda workload: f"{workload.num_steps}{_of_batch(workload)}",
            fitted_exponent,
        ),
        "ms_per_step": (
            lambda workload: workload.num_steps,
            lambda workload: f"{workload.size}{_of_batch(workload)}",
            _slope_ms,
        ),
        "ms_per_image": (
            lambda workload: workload.batch,
            lambda workload: f"{workload.size}.{workload.num_steps}",
            _slope_ms,
        ),
    }
    figures = {}
    for name, (amount_of, rest_of, fit) in laws.items():
        groups: dict[str, dict[float, float]] = defaultdict(dict)
        for subject in subjects:
            workload, way = subject.configuration.workload, subject.configuration.way
            group = groups[f"{way.name}.{rest_of(workload)}"]
            group[amount_of(workload)] = p50_s(subject)
        for prefix, costs in groups.items():
            if len(costs) > 1:
                figures[f"{prefix}.{name}"] = fit(list(costs), list(costs.values()))
    return figures


def _slope_ms(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    return 1e3 * fitted_slope(amounts, seconds)


def _of_batch(workload: Workload) -> str:
    return f".b{workload.batch}" if workload.batch > 1 else ""
