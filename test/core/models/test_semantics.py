from __future__ import annotations

import pytest
import torch

from ppd_core.config import PromptConfig
from ppd_core.models.semantics import DinoV2Prompt, build_encoder, prepare_image


@pytest.mark.parametrize("size", ["s", "l"])
def test_names_and_shapes_are_the_released_ones(published_shapes, size):
    with torch.device("meta"):
        found = {k: list(v.shape) for k, v in DinoV2Prompt(size).state_dict().items()}
    assert found == published_shapes[f"da2_vit{size}"]


@pytest.mark.processor
def test_the_small_prompt_matches_the_recording(golden, with_recipe_weights, assert_parity):
    recorded = golden("da2_vits")
    encoder = with_recipe_weights(lambda: DinoV2Prompt("s"))
    tokens = encoder(prepare_image(PromptConfig("da2", "s"), recorded["image"]))
    assert_parity(tokens, recorded["semantics"])


@pytest.mark.parametrize("size", ["s", "b", "l"])
@pytest.mark.parametrize("kind", ["da2", "dinov2"])
def test_dino_prompts_have_one_token_for_each_coarse_patch(kind, size):
    config = PromptConfig(kind, size)
    width = {"s": 384, "b": 768, "l": 1024}[size]
    with torch.device("meta"):
        tokens = build_encoder(config)(prepare_image(config, torch.rand(1, 3, 64, 96)))
    assert tokens.shape == (1, 4 * 6, width)


@pytest.mark.parametrize("size", ["b", "l"])
def test_mae_prompts_have_one_token_for_each_coarse_patch(size):
    config = PromptConfig("mae", size)
    with torch.device("meta"):
        tokens = build_encoder(config)(prepare_image(config, torch.rand(2, 3, 64, 96)))
    assert tokens.shape == (2, 4 * 6, {"b": 768, "l": 1024}[size])


def test_mae_sees_the_image_at_its_own_size_normalised():
    grey = torch.full((1, 3, 32, 48), 0.5)
    prepared = prepare_image(PromptConfig("mae"), grey)
    assert prepared.shape == grey.shape
    assert prepared[0, 2, 0, 0].item() == pytest.approx((0.5 - 0.406) / 0.225, abs=1e-5)


def test_mae_has_the_released_names_and_keeps_the_grid_that_it_was_trained_on():
    with torch.device("meta"):
        state = build_encoder(PromptConfig("mae")).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes["pretrained.pos_embed"] == (1, 1 + 14 * 14, 1024)
    assert shapes["pretrained.patch_embed.proj.weight"] == (1024, 3, 16, 16)
    assert {key.split(".")[1] for key in shapes} == {
        "cls_token",
        "pos_embed",
        "patch_embed",
        "blocks",
        "norm",
    }


@pytest.mark.parametrize("kind", ["da2", "dinov2", "moge2"])
def test_prepare_image_gives_14_pixels_for_each_16(kind):
    prepared = prepare_image(PromptConfig(kind), torch.rand(1, 3, 64, 96))
    assert prepared.shape == (1, 3, 56, 84)


def test_dino_prompts_are_fed_a_normalised_image_and_moge2_is_not():
    grey = torch.full((1, 3, 32, 32), 0.5)
    torch.testing.assert_close(
        prepare_image(PromptConfig("moge2"), grey), torch.full((1, 3, 28, 28), 0.5)
    )
    assert prepare_image(PromptConfig("da2"), grey)[0, 0, 0, 0].item() == pytest.approx(
        (0.5 - 0.485) / 0.229, abs=1e-5
    )
