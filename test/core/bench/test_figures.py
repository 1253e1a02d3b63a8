from __future__ import annotations

import pytest
import torch

from ppd_core.bench.configuration import Configuration, Way, Workload
from ppd_core.bench.figures import figures_of
from ppd_core.bench.floors import frame_cost
from ppd_core.bench.run import Measured
from ppd_core.bench.subject import Subject
from ppd_core.config import PRESETS

BASE = Way("eager-autocast", torch.float16)
EAGER = Way("eager", torch.float32)
CONFIG = PRESETS["nano"]


def subject(way: Way, workload: Workload, frame_s: list[float], **facts) -> Subject:
    return Subject(
        Configuration(way, workload),
        pipeline=None,  # nothing is run
        load_s=1.0,
        first_frame_s=0.5,
        frame_s=frame_s,
        stages_s={"prompt": [0.001, 0.002, 0.003]},
        **facts,
    )


def test_figures_of_two_configurations_by_hand():
    workload = Workload(64, 48, 4, batch=2)
    measured = Measured(
        CONFIG,
        is_trained=True,
        subjects=[
            subject(BASE, workload, [0.4, 0.4, 0.4]),
            subject(EAGER, workload, [0.1, 0.3, 0.2], peak_bytes=5_000_000),
        ],
        ceilings={torch.float32: 1e12},
    )
    figures = figures_of(measured)
    flop = frame_cost(CONFIG, 48, 64, num_steps=4, batch=2).flop
    own = {
        "p50_ms": 200.0,
        "p95_ms": 290.0,
        "frames": 3,
        "frames_per_s": 10.0,
        "tflops": flop / 0.2 / 1e12,
        "ceiling_share": flop / 0.2 / 1e12,
        "peak_mb": 5.0,
        "start_s": 1.5,
        "ratio_to_eager_autocast": 2.0,
        "prompt_ms": 2.0,
    }
    prefix = "fp32.eager.64x48.4.b2."
    of_eager = {k.removeprefix(prefix): v for k, v in figures.items() if k.startswith(prefix)}
    assert of_eager == pytest.approx(own)
    base = {name for name in figures if name.startswith("fp16.")}
    # It has no ratio to itself, and nobody knows its memory and its ceiling.
    assert {name.rpartition(".")[2] for name in base} == own.keys() - {
        "peak_mb",
        "ceiling_share",
        "ratio_to_eager_autocast",
    }
    assert figures["fp32.ceiling_tflops"] == 1.0


def test_growth_is_told_where_only_one_thing_differs():
    def eager(width: int, height: int, steps: int, batch: int, seconds: float) -> Subject:
        return subject(EAGER, Workload(width, height, steps, batch), [seconds])

    subjects = [
        eager(32, 32, 1, 1, 0.010),
        eager(64, 64, 1, 1, 0.160),  # four times the pixels, sixteen times the time
        eager(32, 32, 3, 1, 0.030),
        eager(32, 32, 1, 4, 0.025),
    ]
    figures = figures_of(Measured(CONFIG, True, subjects, {}))
    growth = {
        name: value
        for name, value in figures.items()
        if name.endswith(("_exponent", "ms_per_step", "ms_per_image"))
    }
    assert growth == pytest.approx(
        {
            "fp32.eager.1.pixel_exponent": 2.0,
            "fp32.eager.32x32.ms_per_step": 10.0,
            "fp32.eager.32x32.1.ms_per_image": 5.0,
        }
    )
