"""VGGT's backbone as a prompt."""

from __future__ import annotations

import pytest
import torch

from ppd_core.config import PromptConfig
from ppd_core.models.semantics import build_encoder, prepare_image
from ppd_core.models.vggt import VggtPrompt, _Mlp
from ppd_core.models.vit import imagenet_normalize


def test_the_prompt_matches_the_recording(golden, with_recipe_weights, assert_parity):
    recorded = golden("vggt_vits")
    encoder = with_recipe_weights(lambda: VggtPrompt("s", depth=2), "aggregator.")
    tokens = encoder(imagenet_normalize(recorded["image"]))
    assert_parity(tokens, recorded["semantics"])


def test_its_gelu_is_exact():
    mlp = _Mlp(1).requires_grad_(False)
    for parameter in mlp.parameters():
        parameter.zero_()
    mlp.fc1.weight[0] = mlp.fc2.weight[0, 0] = 1
    # 2 Phi(2); the approximation by a tanh, of which the recording shows nothing, is 1.954598.
    assert mlp(torch.tensor([2.0])).item() == pytest.approx(1.954500, abs=1e-6)


def test_each_image_of_a_batch_is_looked_at_alone(golden, with_recipe_weights):
    encoder = with_recipe_weights(lambda: VggtPrompt("s", depth=1), "aggregator.")
    image = imagenet_normalize(golden("vggt_vits")["image"])
    both = encoder(torch.cat([image, image.flip(-1)]))
    torch.testing.assert_close(both[:1], encoder(image), atol=1e-4, rtol=1e-4)


def test_it_has_one_token_for_each_coarse_patch():
    config = PromptConfig("vggt")
    with torch.device("meta"):
        tokens = build_encoder(config)(prepare_image(config, torch.rand(2, 3, 64, 96)))
    assert tokens.shape == (2, 4 * 6, 1024)


def test_its_image_is_resized_and_then_normalised():
    config = PromptConfig("vggt")
    checks = (torch.arange(64)[:, None] + torch.arange(96)) % 2
    prepared = prepare_image(config, checks.expand(1, 3, -1, -1).float())
    assert prepared.shape == (1, 3, 56, 84)
    black, white = (imagenet_normalize(torch.full((1, 3, 1, 1), end)) for end in (0.0, 1.0))
    assert (prepared >= black - 1e-5).all()
    assert (prepared <= white + 1e-5).all()


def test_it_has_the_released_parts():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in VggtPrompt("l").state_dict().items()}
    assert shapes["camera_token"] == (1, 2, 1, 1024)
    assert shapes["register_token"] == (1, 2, 4, 1024)
    assert shapes["patch_embed.register_tokens"] == (1, 4, 1024)
    assert shapes["patch_embed.pos_embed"] == (1, 1 + 37 * 37, 1024)
    assert shapes["global_blocks.23.attn.q_norm.weight"] == (64,)
    assert len({key.split(".")[1] for key in shapes if key.startswith("frame_blocks")}) == 24
