from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ppd_core import DepthPipeline, Intrinsics
from ppd_core.alignment.anchors import geometry_anchors
from ppd_core.config import PipelineConfig, PreprocessConfig, PromptConfig, SpDitConfig
from ppd_core.models import moge2
from ppd_core.models.moge2 import MoGe2, view_plane_uv
from ppd_core.models.semantics import prepare_image
from ppd_core.models.sp_dit import SpDit
from ppd_core.preprocess import preprocess
from ppd_core.types import AlignedDepth

SETTINGS = Path(__file__).parents[2] / "golden" / "moge_v2.json"


pytestmark = pytest.mark.xdist_group("memory")


@pytest.fixture(scope="module")
def full_moge2(with_recipe_weights):
    """1.3 GB, made in seconds."""
    return with_recipe_weights(MoGe2)


@pytest.fixture(scope="module")
def features(full_moge2, golden):
    return full_moge2.encode(prepare_image(PromptConfig("moge2"), golden("moge2")["image"]))


def test_names_and_shapes_are_the_released_ones(published_shapes):
    with torch.device("meta"):
        found = {k: list(v.shape) for k, v in MoGe2().state_dict().items()}
    assert found == published_shapes["moge2_vitl_normal"]


def test_the_layers_are_those_of_the_published_settings():
    published = json.loads(SETTINGS.read_text())
    assert list(moge2._LAYERS) == published["encoder"]["intermediate_layers"]
    assert list(moge2._PYRAMID_WIDTHS) == published["neck"]["dim_res_blocks"]
    assert published["remap_output"] == "exp"


def test_the_prompt_matches_the_recording(golden, features, assert_parity):
    assert_parity(features.tokens, golden("moge2")["semantics"])


def test_the_heads_match_the_recording(golden, full_moge2, features, assert_parity):
    recorded = golden("moge2")
    geometry = full_moge2.geometry(features, *recorded["image"].shape[-2:])
    for name in ("points", "normal", "mask", "metric_scale"):
        assert_parity(getattr(geometry, name), recorded[name])


def test_calling_the_module_gives_the_prompt(golden, full_moge2, features):
    prepared = prepare_image(PromptConfig("moge2"), golden("moge2")["image"])
    torch.testing.assert_close(full_moge2(prepared), features.tokens)


def test_geometry_keeps_its_promised_ranges(full_moge2, features):
    geometry = full_moge2.geometry(features, 48, 64)
    assert geometry.points.shape == (1, 48, 64, 3)
    assert geometry.points[..., 2].gt(0).all()
    assert geometry.mask.ge(0).all()
    assert geometry.mask.le(1).all()
    assert geometry.metric_scale.gt(0).all()
    lengths = geometry.normal.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_view_plane_has_a_half_diagonal_of_one():
    uv = view_plane_uv(300, 400, 4 / 3, torch.zeros(1))
    assert uv.shape == (1, 2, 300, 400)
    corner = uv[0, :, -1, -1] * torch.tensor([400 / 399, 300 / 299])  # centre -> outer edge
    assert corner.norm().item() == pytest.approx(1)
    torch.testing.assert_close(uv.flip(2, 3), -uv)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


@pytest.fixture
def pipeline(full_moge2):
    """A small SP-DiT after the full prompt."""
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2),
        prompt=PromptConfig("moge2"),
        preprocess=PreprocessConfig(processing_area=64 * 64),
    )
    models = nn.ModuleDict({"dit": SpDit(config.model), "semantics": full_moge2}).eval()
    return DepthPipeline(config, models)


def test_the_prompt_runs_through_the_same_call(pipeline, image):
    assert pipeline(image).valid_mask.all()


def test_the_encoder_runs_once_for_the_prompt_and_its_metres(full_moge2, pipeline, image):
    calls = []
    hook = full_moge2.encoder.register_forward_hook(lambda *_: calls.append(1))
    camera = Intrinsics.from_fov(90, 60, 60)
    seen = []

    def aligner(image, relative, own_anchors):
        seen.append(own_anchors())
        return AlignedDepth(None, None)

    images = [image, image[::-1].copy()]
    try:
        results = pipeline.batch(images, intrinsics=[camera] * 2, alignments=[aligner] * 2)
    finally:
        hook.remove()
    assert len(calls) == 1
    prepared = prepare_image(pipeline.config.prompt, preprocess(images[1], 64 * 64))
    with torch.no_grad():
        features = full_moge2.encode(prepared)
        geometry = full_moge2.geometry(features, 60, 90)
    assert torch.equal(results[1].sky_mask, geometry.mask[0] <= 0.5)
    anchors = seen[1]
    expected = geometry_anchors(geometry, camera)
    torch.testing.assert_close(anchors.depth, expected.depth, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(seen[0].depth, expected.depth, atol=1e-4, rtol=1e-3)
    assert (anchors.source, anchors.height, anchors.width) == ("moge2", 60, 90)
    assert len(anchors.depth) == 60 * 90
