"""What happens where the fast path fails, at whatever it does."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest
import torch

from ppd_core.backends import build_backend, graph
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.fallback import FALLBACK, FallbackBackend
from ppd_core.backends.graph import GraphBackend
from ppd_core.backends.programs import CompiledProgram
from ppd_core.device import StageClock
from ppd_core.flow import timestep_grid
from ppd_core.networks import Estimate

CPU = torch.device("cpu")
AREA = 64 * 96
TIMES = timestep_grid(1)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("no such kernel\n  and where it was looked for")


def lack_memory(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@contextmanager
def failing_settings(*_: object):
    fail()
    yield


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """The compiler itself is tested elsewhere."""
    monkeypatch.setattr(graph, "compile_networks", lambda networks: None)


@torch.no_grad()
def assert_plain_depth(backend, networks, frame) -> None:
    images, x_t = frame
    clock = StageClock(CPU)
    found = backend.estimate(images, AREA, x_t, TIMES, clock).relative_depth
    expected = EagerBackend(networks).estimate(images, AREA, x_t, TIMES, StageClock(CPU))
    assert torch.equal(found, expected.relative_depth)
    assert list(clock.seconds) == ["preprocess", "prompt", "sample"]


FAULTS = {
    "compiling": (graph, "compile_networks", fail),
    "compiling a frame": (graph.GraphBackend, "_compiler_settings", failing_settings),
    "choosing a kernel": (graph, "fastest_kernel", fail),
    "capturing": (graph, "CapturedProgram", fail),
    "running": (CompiledProgram, "run", fail),
    "another depth": (
        CompiledProgram,
        "run",
        lambda self, images, x_t, clock: Estimate(torch.zeros_like(x_t), None),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_the_plain_path_takes_its_place_and_that_is_told_once(
    small_networks, inputs, monkeypatch, caplog, fault
):
    monkeypatch.setattr(*FAULTS[fault])
    networks = small_networks()
    with caplog.at_level(logging.WARNING, "ppd_core"):
        backend = FallbackBackend(networks)
        if fault == "capturing":
            backend._backend._capture = object()  # as on CUDA
        for seed in (0, 1):
            assert_plain_depth(backend, networks, inputs(seed))
    assert backend.name == "eager"
    told = backend.facts[FALLBACK]
    assert told.startswith("backend eager runs in place of graph, which failed: ")
    assert ("another depth" in told) == (fault == "another depth")
    assert "\n" not in told
    assert [record.getMessage() for record in caplog.records] == [told]


def test_where_nothing_fails_it_is_the_graph(small_networks, inputs):
    networks = small_networks()
    backend = FallbackBackend(networks)
    assert_plain_depth(backend, networks, inputs(0))
    assert (backend.name, backend.facts["difference from eager"]) == ("graph", "0")
    assert FALLBACK not in backend.facts


@torch.no_grad()
def test_too_little_memory_is_no_fault_of_the_graph(small_networks, inputs, monkeypatch):
    backend = FallbackBackend(small_networks())
    with monkeypatch.context() as patch:
        patch.setattr(CompiledProgram, "run", lack_memory)
        with pytest.raises(torch.OutOfMemoryError):
            images, x_t = inputs(0)
            backend.estimate(images, AREA, x_t, TIMES, StageClock(CPU))
    assert backend.name == "graph"


@torch.no_grad()
def test_where_memory_is_not_enough_to_compare_the_graph_runs(small_networks, inputs, monkeypatch):
    backend = GraphBackend(small_networks())
    monkeypatch.setattr(EagerBackend, "estimate", lack_memory)
    images, x_t = inputs(0)
    backend.estimate(images, AREA, x_t, TIMES, StageClock(CPU))
    assert backend.facts["difference from eager"].startswith("not measured")


@torch.no_grad()
def test_a_graph_that_was_asked_for_and_gives_another_depth_is_refused(
    small_networks, inputs, monkeypatch
):
    backend = build_backend(small_networks(), "graph")
    images, x_t = inputs(0)
    with monkeypatch.context() as patch:
        patch.setattr(*FAULTS["another depth"])
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"another depth than eager.*choose backend eager"
            ):
                backend.estimate(images, AREA, x_t, TIMES, StageClock(CPU))


def test_the_default_on_cuda_falls_back(small_networks, monkeypatch):
    monkeypatch.setattr("ppd_core.backends.resolve_backend", lambda name, device: "graph")
    assert isinstance(build_backend(small_networks()), FallbackBackend)
    assert isinstance(build_backend(small_networks(), "graph"), GraphBackend)
