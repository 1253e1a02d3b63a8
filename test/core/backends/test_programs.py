from __future__ import annotations

import pytest
import torch

from ppd_core import DepthPipeline
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.programs import CapturedProgram
from ppd_core.device import StageClock
from ppd_core.flow import timestep_grid
from ppd_core.networks import Networks

TIMES = timestep_grid(3)
AREA = 64 * 96


@pytest.mark.parametrize("kind", ["small", "nano"])
@torch.no_grad()
def test_a_replay_gives_the_depth_of_its_own_images_and_noise(
    kind, small_networks, inputs, record
):
    networks = small_networks()
    if kind == "nano":
        pipeline = DepthPipeline.from_pretrained("nano", device="cpu", dtype=torch.float32)
        networks = Networks(pipeline.config, pipeline.models)
    clock = StageClock(torch.device("cpu"))
    plain = EagerBackend(networks)
    images, x_t = inputs(0, count=2)
    schedule = networks.schedule(TIMES, 64, 96)
    program = CapturedProgram(networks, images, AREA, x_t, schedule, record)
    kept = []
    for seed in (1, 2, 1):
        images, x_t = inputs(seed, count=2)
        expected = plain.estimate(images, AREA, x_t, TIMES, clock).relative_depth
        found = program.run(images, x_t, clock).relative_depth
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        kept.append((found, expected))
    # What was given before is nobody's buffer.
    for found, expected in kept:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
