from __future__ import annotations

import pytest
import torch

from ppd_core import DepthPipeline
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.programs import CapturedProgram
from ppd_core.device import StageClock
from ppd_core.flow import timestep_grid
from ppd_core.networks import Networks
from ppd_core.transfer import Uploader

CPU = torch.device("cpu")
TIMES = timestep_grid(3)
AREA = 64 * 96


@pytest.fixture(params=["small", "nano"])
def networks(request, small_networks) -> Networks:
    if request.param == "small":
        return small_networks()
    pipeline = DepthPipeline.from_pretrained("nano", device="cpu", dtype=torch.float32)
    return Networks(pipeline.config, pipeline.models)


@torch.no_grad()
def test_a_replay_gives_the_depth_of_its_own_images_and_noise(networks, inputs, record):
    clock = StageClock(CPU)
    plain = EagerBackend(networks)

    def frames(seed):  # Of two cameras, one of twice the size: there both resizings are exact.
        images, x_t = inputs(seed, count=3)
        larger, _ = inputs(seed, 128, 192)
        return [*images[:2], *larger], x_t

    schedule = networks.schedule(TIMES, 64, 96)
    images, x_t = frames(0)
    program = CapturedProgram(networks, images, AREA, x_t, schedule, Uploader(CPU), record)
    kept = []
    for seed in (1, 2, 1):
        images, x_t = frames(seed)
        expected = plain.estimate(images, AREA, x_t, TIMES, clock).relative_depth
        found = program.run(images, x_t, clock).relative_depth
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        kept.append((found, expected))
    # What was given before is nobody's buffer.
    for found, expected in kept:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
