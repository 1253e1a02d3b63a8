"""The published networks at their full size, against recordings: one at a time, each made once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ppd_core import DepthPipeline, PipelineConfig
from ppd_core.backends import graph
from ppd_core.flow import timestep_grid
from ppd_core.models.semantics import DinoV2Prompt, prepare_image
from ppd_core.models.sp_dit import SpDit
from ppd_core.networks import Networks

pytestmark = pytest.mark.xdist_group("memory")
CONFIG = PipelineConfig()


class Given(nn.Module):
    """In the place of a prompt's encoder: the tokens that it gave."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self._tokens = tokens

    def forward(self, prepared: Tensor) -> Tensor:
        return self._tokens


@pytest.fixture(scope="module")
def prompted(golden, with_recipe_weights) -> SimpleNamespace:
    """What the large prompt gives. Itself it is not kept: beside SP-DiT it would be 3.2 GB."""
    encoder = with_recipe_weights(lambda: DinoV2Prompt("l"))
    return SimpleNamespace(
        alone=encoder(prepare_image(CONFIG.prompt, golden("da2_vitl")["image"])),
        of_pipeline=encoder(prepare_image(CONFIG.prompt, golden("pipeline_full")["image"])),
    )


@pytest.fixture(scope="module")
def full_dit(prompted, with_recipe_weights) -> nn.Module:
    """SP-DiT-L, 2 GB; after the prompt, which is gone by then."""
    return with_recipe_weights(lambda: SpDit(CONFIG.model))


@pytest.fixture
def models(full_dit, prompted) -> nn.ModuleDict:
    return nn.ModuleDict({"dit": full_dit, "semantics": Given(prompted.of_pipeline)})


def test_the_large_prompt_matches_the_recording(golden, prompted, assert_parity):
    assert_parity(prompted.alone, golden("da2_vitl")["semantics"])


def test_sp_dit_matches_the_recording(golden, full_dit, assert_parity):
    recorded = golden("dit_full")
    velocity = full_dit(recorded["x"], recorded["semantics"], recorded["timestep"])
    assert_parity(velocity, recorded["velocity"])


def test_the_pipeline_matches_the_recording(golden, models, assert_parity):
    pipeline = DepthPipeline(CONFIG, models)
    recorded = golden("pipeline_full")
    semantics = pipeline.encode(recorded["image"])
    depth = pipeline.sample(recorded["image"], semantics, recorded["noise"], timestep_grid(4))
    assert_parity(depth, recorded["relative_depth"])


@pytest.mark.usefixtures("compiling")
def test_compiled_block_by_block_it_matches_the_recording(golden, models, assert_parity):
    recorded = golden("pipeline_full")
    networks = Networks(CONFIG, models)
    graph.compile_networks(networks)
    with torch.no_grad():
        schedule = networks.schedule(timestep_grid(4), *recorded["noise"].shape[-2:])
        found = networks.estimate(recorded["image"], recorded["noise"], schedule)
    assert_parity(found.relative_depth, recorded["relative_depth"])
