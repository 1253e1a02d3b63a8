from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ppd_core.backends.eager import EagerBackend
from ppd_core.bench.eager_autocast import EagerAutocastBackend, published_dtype
from ppd_core.config import PRESETS, PipelineConfig
from ppd_core.device import StageClock
from ppd_core.flow import timestep_grid
from ppd_core.loading import build_random, load
from ppd_core.networks import Networks

HEIGHT, WIDTH = 48, 64


def networks_of(name: str) -> Networks:
    loaded = load(name, "cpu", torch.float32, None, download=False)
    return Networks(loaded.config, loaded.models)


def depth_by(backend, steps: int, batch: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(batch)]
    noise = torch.from_numpy(rng.standard_normal((batch, 1, HEIGHT, WIDTH)).astype(np.float32))
    device = backend._networks.device
    with torch.no_grad():
        estimate = backend.estimate(
            images, HEIGHT * WIDTH, noise.to(device), timestep_grid(steps), StageClock(device)
        )
    return estimate.relative_depth


@pytest.mark.parametrize("name", ["nano", "tiny"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (4, 2)])
def test_without_autocast_it_gives_the_depth_of_the_plain_path(name, steps, batch):
    networks = networks_of(name)
    expected = depth_by(EagerBackend(networks), steps, batch)
    depth = depth_by(EagerAutocastBackend(networks, torch.float32), steps, batch)
    torch.testing.assert_close(depth, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("has_semantics", [True, False])
@pytest.mark.parametrize("has_cascade", [True, False])
def test_it_takes_each_ablation(has_semantics, has_cascade):
    model = dataclasses.replace(
        PRESETS["nano"].model,
        has_semantics=has_semantics,
        has_cascade=has_cascade,
        prediction="velocity",
    )
    config: PipelineConfig = dataclasses.replace(PRESETS["nano"], model=model)
    networks = Networks(config, build_random(config, "cpu", torch.float32).models)
    expected = depth_by(EagerBackend(networks), 2)
    depth = depth_by(EagerAutocastBackend(networks, torch.float32), 2)
    torch.testing.assert_close(depth, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.processor
def test_under_autocast_it_gives_that_depth_but_for_rounding():
    networks = networks_of("nano")
    expected = depth_by(EagerBackend(networks), 4)
    depth = depth_by(EagerAutocastBackend(networks, torch.bfloat16), 4)
    difference = (depth - expected).abs()
    assert depth.dtype == torch.float32
    assert 1e-5 < difference.mean() < 0.02 * expected.std()


class CountOperations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.casts: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.counts[name] += 1
        if name == "_to_copy":
            self.casts[tuple(args[0].shape)] += 1
        return function(*args, **(kwargs or {}))


def test_it_does_in_each_step_what_the_published_code_does():
    networks, steps = networks_of("nano"), 3
    backend = EagerAutocastBackend(networks, torch.float32)
    depth_by(backend, steps)
    with CountOperations() as mode:
        depth_by(backend, steps)
    rotations = 2 * networks.config.model.depth * steps  # queries and keys of each attention
    assert mode.counts["_local_scalar_dense"] == rotations + steps  # and the next time's place
    assert mode.counts["nonzero"] == steps
    assert mode.counts["embedding"] == 4 * rotations  # cosines and sines, rows and columns


def test_weights_are_cast_once_a_frame_not_once_a_step():
    networks = networks_of("nano")
    backend = EagerAutocastBackend(networks, torch.bfloat16)
    with CountOperations() as mode:
        depth_by(backend, 3)
    dim, depth = networks.config.model.hidden_size, networks.config.model.depth
    assert mode.casts[3 * dim, dim] == depth  # of each attention's queries, keys and values


def test_the_published_dtype_of_a_machine_without_cuda_is_float16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert published_dtype() == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert published_dtype() == torch.bfloat16


def test_weights_that_are_half_precision_already_are_refused():
    config = PRESETS["nano"]
    networks = Networks(config, build_random(config, "cpu", torch.bfloat16).models)
    with pytest.raises(ValueError, match=r"needs float32 weights, got torch\.bfloat16"):
        EagerAutocastBackend(networks, torch.bfloat16)


@pytest.mark.gpu
def test_on_cuda_it_gives_the_depth_of_the_plain_path_but_for_rounding():
    loaded = load("nano", "cuda", torch.float32, None, download=False)
    networks = Networks(loaded.config, loaded.models)
    expected = depth_by(EagerBackend(networks), 4)
    depth = depth_by(EagerAutocastBackend(networks, published_dtype()), 4)
    assert (depth - expected).abs().mean() < 0.02 * expected.std()
