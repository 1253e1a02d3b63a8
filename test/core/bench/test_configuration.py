from __future__ import annotations

import pytest
import torch

from ppd_core.bench import configuration
from ppd_core.bench.configuration import Configuration, Way, Workload, ways, workloads


def test_names_are_those_of_the_figures():
    way = Way("eager", torch.bfloat16)
    assert Configuration(way, Workload(384, 512, 4)).name == "bf16.eager.384x512.4"
    assert Configuration(way, Workload(384, 512, 4, batch=2)).name == "bf16.eager.384x512.4.b2"
    base = Way("eager-autocast", torch.float16)
    assert Configuration(base, Workload(64, 48, 1)).name == "fp16.eager_autocast.64x48.1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((100, 96, 4), "size must have sides that are multiples of 16, got 100x96"),
        ((0, 16, 4), "multiples of 16, got 0x16"),
        ((64, 48, 0), r"num_steps must be in \[1, 1000\], got 0"),
        ((64, 48, 1, 0), "batch must be >= 1, got 0"),
        ((16384, 16384, 1), "processing_area must be in"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Workload(*values)


def test_bases_have_their_own_dtype_and_backends_every_one(monkeypatch):
    monkeypatch.setattr(configuration, "published_dtype", lambda: torch.float16)
    found = ways([torch.float32, torch.bfloat16], ["eager"], configuration.BASES)
    assert [(way.backend, way.precision) for way in found] == [
        ("eager-autocast", "fp16"),
        ("eager-autocast-bf16", "bf16"),
        ("eager", "fp32"),
        ("eager", "bf16"),
    ]


def test_backends_are_those_of_the_registry():
    with pytest.raises(ValueError, match=r"backend must be one of eager.*, got 'steam'"):
        ways([torch.float32], ["steam"], [])


def test_every_size_is_timed_with_all_steps_and_batches():
    found = workloads([(32, 16), (64, 48)], [1, 4], [1, 2])
    assert len(set(found)) == 8
    assert Workload(64, 48, 4, 2) in found
