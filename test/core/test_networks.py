from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.config import PRESETS, PipelineConfig, PromptConfig, SpDitConfig
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.models import build_models
from ppd_core.networks import Networks
from ppd_core.types import Alignment


def narrow(config: PipelineConfig) -> PipelineConfig:
    model = replace(config.model, hidden_size=32, depth=2, num_heads=2)
    return replace(config, model=model)


VARIANTS = {name: narrow(preset) for name, preset in PRESETS.items()} | {
    "no prompt": PipelineConfig(SpDitConfig(32, 2, 2, has_semantics=False)),
    "no cascade": PipelineConfig(SpDitConfig(32, 2, 2, has_cascade=False)),
    "efficientnet": PipelineConfig(
        SpDitConfig(32, 2, 2, semantics_dim=576), PromptConfig("efficientnet", "lite0")
    ),
    "mae": PipelineConfig(SpDitConfig(32, 2, 2), PromptConfig("mae")),
    "vggt": PipelineConfig(SpDitConfig(32, 2, 2), PromptConfig("vggt")),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_nothing_between_image_and_depth_copies_from_the_host_or_waits(name, dtype, fake_cuda):
    with torch.device("meta"):
        models = build_models(VARIANTS[name])
    shapes = {key: value.shape for key, value in models.state_dict().items()}
    with fake_cuda() as watch:
        state = {
            key: torch.empty(shape, dtype=dtype, device="cuda") for key, shape in shapes.items()
        }
        models.load_state_dict(state, assign=True)
        networks = Networks(VARIANTS[name], models.requires_grad_(False))
        schedule = networks.schedule([1000, 500], 64, 96)
        images = torch.empty(2, 3, 64, 96, dtype=networks.state_dtype, device="cuda")
        x_t = torch.empty(2, 1, 64, 96, dtype=networks.state_dtype, device="cuda")
        with watch():
            estimate = networks.estimate(images, x_t, schedule)
            relative = upsample_depth(estimate.relative_depth[0, 0].float(), 100, 150)
            metric = to_metric_depth(relative, Alignment(scale=1.0, shift=0.1, source="constant"))
    assert estimate.relative_depth.shape == (2, 1, 64, 96)
    assert (metric.shape, metric.device.type) == ((100, 150), "cuda")


@pytest.mark.parametrize(
    "act",
    [
        lambda: torch.tensor([1.0, 2.0], device="cuda"),
        lambda: torch.zeros(3).to("cuda"),
        lambda: torch.zeros(3, device="cuda").cpu(),
        lambda: torch.zeros(3, device="cuda").sum().item(),
    ],
)
def test_what_a_graph_cannot_hold_is_found(act, fake_cuda):
    """Else the test above could not fail."""
    with fake_cuda() as watch, watch(), pytest.raises((AssertionError, RuntimeError)):
        act()
