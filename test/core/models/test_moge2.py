from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ppd_core.config import PromptConfig
from ppd_core.models import moge2
from ppd_core.models.moge2 import MoGe2, view_plane_uv
from ppd_core.models.semantics import prepare_image

SETTINGS = Path(__file__).parents[2] / "golden" / "moge_v2.json"


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
