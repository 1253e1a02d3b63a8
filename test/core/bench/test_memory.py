from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ppd_core.bench.memory import PeakMemory, weight_bytes

NUMBERS = 50_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_peak_is_seen_although_it_is_over_when_the_block_ends():
    def growth_bytes(numbers: int) -> int:
        with PeakMemory(torch.device("cpu")) as memory:
            torch.ones(numbers)
        return memory.growth_bytes

    for _ in range(2):  # a second peak is no higher than the first
        assert 0.9 * 4 * NUMBERS < growth_bytes(NUMBERS) < 1.3 * 4 * NUMBERS
    assert growth_bytes(1) < 0.1 * 4 * NUMBERS


def test_weights_are_parameters_and_buffers():
    module = nn.BatchNorm2d(3)
    assert weight_bytes(module) == 4 * (3 + 3 + 3 + 3) + 8


@pytest.mark.gpu
def test_the_peak_on_cuda_is_that_of_torch():
    with PeakMemory(torch.device("cuda")) as memory:
        torch.ones(NUMBERS, device="cuda")
    assert memory.growth_bytes == pytest.approx(4 * NUMBERS, rel=0.01)
