from __future__ import annotations

import pytest
import torch

from ppd_core.config import PRESETS, PROMPT_WIDTH
from ppd_core.models import build_models
from ppd_core.models.nano_prompt import WIDTH, NanoPrompt, position_channels
from ppd_core.models.vit import imagenet_normalize


@pytest.fixture(scope="module")
def prompt():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NanoPrompt().eval().requires_grad_(False)


def test_tokens_are_one_a_patch_and_as_wide_as_the_config_says(prompt):
    tokens = prompt(torch.rand(2, 3, 48, 64))
    assert tokens.shape == (2, 3 * 4, WIDTH)
    assert PROMPT_WIDTH["nano"] == WIDTH


def test_field_is_of_the_images_size(prompt):
    assert prompt.predict_field(torch.rand(2, 3, 48, 64)).shape == (2, 1, 48, 64)


def test_each_tokens_detail_is_its_own_patchs(prompt):
    """The detail channels of token (r, c) are the decoder's 4 x 4 blocks of patch (r, c)."""
    image = torch.rand(1, 3, 48, 64)
    _, detail = prompt._features(image)
    tokens = prompt(image).unflatten(1, (3, 4))
    patch = detail[0, :, 4:8, 8:12]  # patch row 1, column 2, at 1/4
    assert torch.equal(tokens[0, 1, 2, -WIDTH // 2 :], patch.flatten())


def test_an_image_means_the_same_in_a_batch_and_alone(prompt):
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(prompt(images)[1:2], prompt(images[1:2]), rtol=1e-4, atol=1e-5)


def test_half_precision_rounds_what_is_normalised_and_not_the_image():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        half = NanoPrompt().bfloat16()
        image = torch.rand(1, 3, 32, 48)
    seen = []
    half.stem[0].conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    half(image)
    exact = torch.cat([imagenet_normalize(image), position_channels(image)], dim=1)
    assert torch.equal(seen[0], exact.bfloat16())
    half(image.bfloat16())
    assert not torch.equal(seen[1], seen[0])


def test_nano_fits_its_size():
    parameters = sum(p.numel() for p in build_models(PRESETS["nano"]).parameters())
    assert parameters <= 15e6
    assert 2 * parameters <= 30e6  # bytes of fp16
