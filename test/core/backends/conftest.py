"""Networks small enough to compile, and a CUDA graph's semantics on any device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig
from ppd_core.loading import build_random
from ppd_core.networks import Estimate, Networks

AREA = 64 * 96


class _Recorder(TorchDispatchMode):
    """Keeps every operation with the very tensors that it read and gave."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, out))
        return out


def _record(work: Callable[[], Estimate]) -> tuple[Estimate, Callable[[], None]]:
    recorder = _Recorder()
    with recorder:
        given = work()

    def replay() -> None:
        for function, args, kwargs, out in recorder.operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return given, torch.no_grad()(replay)


@pytest.fixture
def record():
    """A `Capture` that repeats each operation from its own tensors into its own: no Python of the
    work itself runs in a replay."""
    return _record


@pytest.fixture
def small_networks() -> Callable[[], Networks]:
    """Makes, always anew, an SP-DiT without prompt, the same each time; it compiles in seconds."""

    def make(dtype: torch.dtype = torch.float32) -> Networks:
        model = SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False)
        config = PipelineConfig(model=model, preprocess=PreprocessConfig(processing_area=AREA))
        return Networks(config, build_random(config, torch.device("cpu"), dtype).models)

    return make


@pytest.fixture
def inputs() -> Callable[..., tuple[list[np.ndarray], Tensor]]:
    """Makes images and noise."""

    def make(seed: int, height: int = 64, width: int = 96, count: int = 1):
        generator = np.random.default_rng(seed)
        images = [generator.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]
        noise = torch.Generator().manual_seed(seed)
        return images, torch.randn(count, 1, height, width, generator=noise)

    return make
