from __future__ import annotations

from contextlib import contextmanager, nullcontext
from itertools import count

import pytest
import torch

from ppd_core.backends.capture import WARM_UP_RUNS, CudaCapture

NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


class FakeCuda:
    """What `CudaCapture` asks of `torch.cuda`, and what it asked for."""

    def __init__(self, monkeypatch):
        self.num_streams = 0
        self.pools: list[int] = []
        pool_handles = count()
        fakes = {
            "graph_pool_handle": lambda: next(pool_handles),
            "device": lambda device: nullcontext(),
            "current_stream": FakeStream,
            "Stream": self._new_stream,
            "stream": lambda stream: nullcontext(),
            "CUDAGraph": FakeGraph,
            "graph": self._graph,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def _new_stream(self, *device):
        self.num_streams += 1
        return FakeStream()

    @contextmanager
    def _graph(self, graph, *, pool, capture_error_mode):
        self.pools.append(pool)
        yield


class FakeStream:
    def wait_stream(self, other):
        pass


class FakeGraph:
    def replay(self):
        pass


@pytest.fixture
def cuda(monkeypatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_graphs_share_one_pool_and_what_warms_them_up_one_stream(cuda):
    capture = CudaCapture(torch.device("cuda"))
    runs = []
    for _ in range(3):
        capture(lambda: runs.append(None))
    assert len(runs) == 3 * (WARM_UP_RUNS + 1)
    assert len(set(cuda.pools)) == 1
    assert cuda.num_streams == 1


def test_after_a_capture_that_failed_the_next_takes_another_pool(cuda):
    capture = CudaCapture(torch.device("cuda"))
    runs = count()

    def fails_in_the_capture():
        if next(runs) == WARM_UP_RUNS:
            raise NO_MEMORY

    with pytest.raises(torch.OutOfMemoryError):
        capture(fails_in_the_capture)
    capture(lambda: None)
    assert len(set(cuda.pools)) == 2
