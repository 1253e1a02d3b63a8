from __future__ import annotations

import pytest
import torch

from ppd_core.config import PROMPT_WIDTH
from ppd_core.models.efficientnet_prompt import (
    MIN_SCALE,
    MIXTURE_COMPONENTS,
    WIDTH,
    EfficientNetPrompt,
    Mixture,
    lite_normalize,
    most_probable,
    position_channels,
)


@pytest.fixture(scope="module")
def prompt():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EfficientNetPrompt().eval().requires_grad_(False)


@pytest.mark.parametrize(("rows", "cols"), [(3, 4), (2, 5), (1, 1)])
def test_there_is_a_token_for_each_patch_and_a_depth_for_each_pixel(prompt, rows, cols):
    image = torch.rand(2, 3, 16 * rows, 16 * cols)
    assert prompt(image).shape == (2, rows * cols, WIDTH)
    field, mixture = prompt.predict_both(image)
    assert field.shape == (2, 1, 16 * rows, 16 * cols)
    assert {one.shape for one in mixture} == {(2, MIXTURE_COMPONENTS, 16 * rows, 16 * cols)}
    assert PROMPT_WIDTH["lite0"] == WIDTH


def test_each_tokens_detail_is_its_own_patchs(prompt):
    image = torch.rand(1, 3, 48, 64)
    coarse, detail = prompt._features(image)
    tokens = prompt(image).unflatten(1, (3, 4))
    patch = detail[0, :, 4:8, 8:12]  # patch row 1, column 2, at 1/4
    assert torch.equal(tokens[0, 1, 2], torch.cat([coarse[0, :, 1, 2], patch.flatten()]))


def test_an_image_means_the_same_in_a_batch_and_alone(prompt):
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(prompt(images)[1:2], prompt(images[1:2]), rtol=1e-4, atol=1e-5)


def test_one_pass_says_what_each_head_says(prompt):
    image = torch.rand(1, 3, 32, 48)
    field, mixture = prompt.predict_both(image)
    assert torch.equal(field, prompt.predict_field(image))
    assert all(map(torch.equal, mixture, prompt.predict_mixture(image)))


def test_a_mixture_is_one_of_probabilities(prompt):
    mixture = prompt.predict_mixture(torch.rand(1, 3, 32, 48))
    torch.testing.assert_close(mixture.log_weight.exp().sum(1), torch.ones(1, 32, 48))
    assert (mixture.scale >= MIN_SCALE).all()


def test_the_most_probable_component_is_read_and_no_mean():
    weight = torch.tensor([[0.3, 0.7], [0.6, 0.4]]).T.view(1, 2, 1, 2)  # of two pixels
    location = torch.tensor([-0.4, 0.4]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    field = most_probable(Mixture(weight.log(), location, torch.ones_like(location)))
    assert field.flatten().tolist() == pytest.approx([0.4, -0.4])


def test_half_precision_rounds_what_is_normalised_and_not_the_image():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        half = EfficientNetPrompt().bfloat16()
        image = torch.rand(1, 3, 32, 48)
    seen = []
    half.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    half(image)
    assert torch.equal(seen[0], lite_normalize(image).bfloat16())


def test_position_runs_from_border_to_border():
    place = position_channels(torch.zeros(1, 7, 2, 3))
    assert place[0].tolist() == [[[-1, 0, 1], [-1, 0, 1]], [[-1, -1, -1], [1, 1, 1]]]
