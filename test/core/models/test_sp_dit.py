from __future__ import annotations

import pytest
import torch

from ppd_core.config import SpDitConfig
from ppd_core.models.sp_dit import SpDit, split_tokens, tokens_to_image, upsample_tokens

TINY = {"hidden_size": 64, "depth": 4, "num_heads": 4}


def test_names_and_shapes_are_the_released_ones(published_shapes):
    for name, config in (("dit_tiny", SpDitConfig(**TINY)), ("dit_full", SpDitConfig())):
        with torch.device("meta"):
            found = {k: list(v.shape) for k, v in SpDit(config).state_dict().items()}
        assert found == published_shapes[name]


@pytest.mark.processor
def test_the_tiny_network_matches_the_recording(golden, with_recipe_weights, assert_parity):
    recorded = golden("dit_tiny")
    dit = with_recipe_weights(lambda: SpDit(SpDitConfig(**TINY)))
    velocity = dit(recorded["x"], recorded["semantics"], recorded["timestep"])
    assert_parity(velocity, recorded["velocity"])


def test_split_tokens_reads_a_token_as_two_by_two():
    tokens = torch.arange(2 * 3 * 4).view(1, 6, 4)  # D = 1, a grid of 2 x 3
    fine = split_tokens(tokens, 2, 3).view(4, 6)
    assert fine[:2, :2].tolist() == [[0, 1], [2, 3]]
    assert fine[2:, 4:].tolist() == [[20, 21], [22, 23]]


def test_tokens_to_image_lays_patches_row_by_row():
    image = torch.randn(1, 1, 16, 24)
    tokens = torch.nn.functional.unfold(image, 8, stride=8).transpose(1, 2)
    torch.testing.assert_close(tokens_to_image(tokens, 2, 3), image)


def test_upsample_tokens_is_linear_inside():
    ramp = torch.arange(4.0).view(1, 4, 1)
    fine = upsample_tokens(ramp, 1, 4).view(2, 8)
    torch.testing.assert_close(fine[0, 1:-1], torch.arange(0.25, 3, 0.5))


@pytest.mark.parametrize("has_semantics", [True, False])
@pytest.mark.parametrize("has_cascade", [True, False])
def test_each_ablation_predicts_a_velocity_of_the_image_s_size(has_semantics, has_cascade):
    config = SpDitConfig(**TINY, has_semantics=has_semantics, has_cascade=has_cascade)
    dit = SpDit(config).eval()
    semantics = torch.randn(2, 6, 1024) if has_semantics else None
    velocity = dit(torch.randn(2, 4, 32, 48), semantics, torch.tensor([1000, 3]))
    assert velocity.shape == (2, 1, 32, 48)
    assert hasattr(dit, "proj_fusion") == (has_semantics or has_cascade)


def test_the_prompt_counts_by_its_direction_not_its_length():
    dit = SpDit(SpDitConfig(**TINY)).eval()
    x, semantics, t = torch.randn(1, 4, 32, 32), torch.randn(1, 4, 1024), torch.tensor([500])
    torch.testing.assert_close(dit(x, semantics, t), dit(x, 7 * semantics, t))
    assert not torch.allclose(dit(x, semantics, t), dit(x, -semantics, t))


def test_the_prompt_is_asked_for_when_it_is_missing():
    dit = SpDit(SpDitConfig(**TINY))
    with pytest.raises(ValueError, match="semantics must be a tensor, got None"):
        dit(torch.randn(1, 4, 32, 32), None, torch.tensor([500]))


def test_float32_stays_with_float64_at_working_size(assert_parity):
    torch.manual_seed(0)
    dit = SpDit(SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=64)).eval()
    dit.requires_grad_(False)
    x, semantics = torch.randn(1, 4, 768, 1024), torch.randn(1, 48 * 64, 64)
    single = dit(x, semantics, torch.tensor([750]))
    double = dit.double()(x.double(), semantics.double(), torch.tensor([750]))
    assert_parity(single, double)


def test_the_fine_input_reaches_the_output_past_the_coarse_tokens():
    dit = SpDit(SpDitConfig(**TINY, has_semantics=False, has_fine_input=True)).eval()
    x, t = torch.randn(1, 4, 32, 48), torch.tensor([500])
    with torch.no_grad():
        dit.x_embedder.proj.weight.zero_()  # blind to the image, but for the fine patches
    other = x.clone()
    other[..., :8, :8] += 1
    difference = dit(other, None, t) - dit(x, None, t)
    assert difference[..., :8, :8].abs().max() > 1e-4
    with torch.no_grad():
        dit.fine_embedder.proj.weight.zero_()
    torch.testing.assert_close(dit(other, None, t), dit(x, None, t), atol=0, rtol=0)


def test_without_the_cascade_every_token_is_fine_already():
    config = SpDitConfig(**TINY, has_cascade=False, has_fine_input=True)
    assert not hasattr(SpDit(config), "fine_embedder")
