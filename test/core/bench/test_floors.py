from __future__ import annotations

import dataclasses
from functools import lru_cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ppd_core.bench.floors import (
    attention,
    convolution,
    frame_cost,
    linear,
    network_cost,
    prompt_cost,
    schedule_cost,
)
from ppd_core.config import PRESETS, PipelineConfig, PromptConfig, SpDitConfig
from ppd_core.flow import timestep_grid
from ppd_core.models import build_models
from ppd_core.models.semantics import build_encoder
from ppd_core.networks import Networks


@lru_cache
def networks_on_meta(config: PipelineConfig) -> Networks:
    """Shapes without numbers: the published networks take no memory there."""
    with torch.device("meta"):
        return Networks(config, build_models(config))


def counted(config: PipelineConfig, height: int, width: int, steps: int, batch: int) -> list[int]:
    """FLOP of schedule and frame, counted as torch runs them."""
    networks = networks_on_meta(config)
    images = torch.empty(batch, 3, height, width, device="meta")
    with torch.no_grad():
        with FlopCounterMode(display=False) as in_schedule:
            schedule = networks.schedule(timestep_grid(steps), height, width)
        with FlopCounterMode(display=False) as in_frame:
            networks.estimate(images, images[:, :1], schedule)
    return [in_schedule.get_total_flops(), in_frame.get_total_flops()]


@pytest.mark.parametrize("name", PRESETS)
def test_flop_are_those_that_torch_counts(name):
    config, height, width, steps, batch = PRESETS[name], 64, 96, 3, 2
    expected = [
        schedule_cost(config.model, steps).flop,
        frame_cost(config, height, width, steps, batch).flop,
    ]
    assert counted(config, height, width, steps, batch) == expected


@pytest.mark.parametrize("height", [64, 80])  # 1/16 of 80 is odd
def test_flop_of_the_efficientnet_prompt_are_those_that_torch_counts(height):
    config = PromptConfig("efficientnet", "lite0")
    with torch.device("meta"):
        prompt = build_encoder(config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        prompt(torch.empty(1, 3, height, 96, device="meta"))
    assert prompt_cost(config, height, 96).flop == counter.get_total_flops()


@pytest.mark.parametrize("has_semantics", [True, False])
@pytest.mark.parametrize("has_cascade", [True, False])
def test_flop_of_each_ablation_are_those_that_torch_counts(has_semantics, has_cascade):
    model = dataclasses.replace(
        PRESETS["nano"].model, has_semantics=has_semantics, has_cascade=has_cascade
    )
    config = dataclasses.replace(PRESETS["nano"], model=model)
    assert counted(config, 48, 32, 2, 1)[1] == frame_cost(config, 48, 32, 2).flop


@pytest.mark.parametrize("name", PRESETS)
def test_weights_are_all_parameters_of_the_layers_that_count(name):
    config = PRESETS[name]
    networks = networks_on_meta(config)
    parameters = sum(
        parameter.numel()
        for module in networks.dit.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        for parameter in module.parameters()
    )
    network = network_cost(config.model, 64, 96) + schedule_cost(config.model, 1)
    assert network.weights == parameters


def test_one_step_of_the_published_network_is_12_8_tflop_and_a_frame_54():
    config = PRESETS["ppd-da2"]
    step = network_cost(SpDitConfig(), 768, 1024)
    assert step.flop / 1e12 == pytest.approx(12.8, abs=0.05)
    # 12 blocks on 12,288 fine tokens.
    assert 12 * attention(12_288, 1024).flop / step.flop == pytest.approx(0.58, abs=0.005)
    frame = frame_cost(config, 768, 1024, num_steps=4)
    assert frame.flop / 1e12 == pytest.approx(54, abs=0.5)
    assert frame.flop == 4 * step.flop + prompt_cost(config.prompt, 768, 1024).flop


def test_a_layer_by_hand():
    assert dataclasses.astuple(linear(5, 3, 2)) == (60, 8, 25)
    assert dataclasses.astuple(attention(5, 4)) == (400, 0, 80)
    # 2 x 3 outputs of 3 x 3 patches, from 4 x 6 pixels of 5 channels.
    layer = convolution(6, 5, 7, side=3, stride=2)
    assert dataclasses.astuple(layer) == (2 * 6 * 9 * 5 * 7, 9 * 5 * 7 + 7, 24 * 5 + 6 * 7)


def test_a_batch_reads_weights_once_and_steps_read_them_again():
    config = PRESETS["tiny"]
    one = frame_cost(config, 64, 96, num_steps=1)
    batch = frame_cost(config, 64, 96, num_steps=1, batch=3)
    assert (batch.flop, batch.weights) == (3 * one.flop, one.weights)
    assert batch.bytes_moved(2) == 2 * (one.weights + 3 * one.activations)
    two_steps = frame_cost(config, 64, 96, num_steps=2)
    assert two_steps.weights - one.weights == network_cost(config.model, 64, 96).weights
