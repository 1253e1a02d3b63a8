"""Record a function's work on a CUDA device once, and have the device repeat it by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ppd_core.networks import Estimate

Capture = Callable[[Callable[[], Estimate]], tuple[Estimate, Callable[[], object]]]
"""Work -> what it gave, and what repeats it: from the tensors that the work read, by then maybe
of other values, into the very tensors that it gave."""

WARM_UP_RUNS = 2
"""Before a capture, in which compilers, autotuners and libraries cannot do what they do once."""


class CudaCapture:
    """Makes CUDA graphs that share their memory.

    One of them runs at a time, and what it gave must be copied before another runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        # One for all: cuBLAS keeps a workspace of tens of megabytes for each stream that it saw.
        self._side = torch.cuda.Stream(device)

    def __call__(self, work: Callable[[], Estimate]) -> tuple[Estimate, Callable[[], object]]:
        """See `Capture`. The work must not let the host wait for the device.

        Raises:
            RuntimeError: it does, or the device's memory is not enough.
        """
        with torch.cuda.device(self._device):
            here = torch.cuda.current_stream()
            side = self._side
            side.wait_stream(here)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP_RUNS):
                    work()
            here.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Only what this thread asks of CUDA must be fit for a graph.
            recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
            try:
                # Not every torch leaves its own stream again where a capture ends in an error.
                with torch.cuda.stream(here), recording:
                    given = work()
            except BaseException:
                # If this was the pool's first graph, torch lets no other one into it any more.
                self._pool = torch.cuda.graph_pool_handle()
                raise
        return given, graph.replay
