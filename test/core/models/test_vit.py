from __future__ import annotations

import copy

import pytest
import torch

from ppd_core.models.vit import (
    dinov2,
    imagenet_normalize,
    interpolate_position_embedding,
    layer_tokens,
)


@pytest.fixture(scope="module")
def vit_s():
    torch.manual_seed(0)
    return dinov2("s").eval().requires_grad_(False)


def test_position_embedding_is_left_alone_at_its_own_size():
    embedding = torch.randn(1, 1 + 37 * 37, 8)
    assert interpolate_position_embedding(embedding, 37, 37) is embedding


@pytest.mark.parametrize(("rows", "cols"), [(48, 64), (6, 8), (37, 64), (1, 1), (120, 7)])
def test_position_embedding_gets_one_row_a_token(rows, cols):
    embedding = torch.randn(1, 1 + 37 * 37, 8)
    resampled = interpolate_position_embedding(embedding, rows, cols)
    assert resampled.shape == (1, 1 + rows * cols, 8)
    torch.testing.assert_close(resampled[:, 0], embedding[:, 0])


def test_position_embedding_keeps_the_offset_of_the_original():
    columns = torch.arange(37.0)
    embedding = torch.zeros(1, 1 + 37 * 37, 1)
    embedding[0, 1:, 0] = columns.repeat(37)
    resampled = interpolate_position_embedding(embedding, 4, 4)[0, 1:].view(4, 4)
    # A ramp shows the sampling position; torch's cubic kernel wavers by 0.05 on it. Without the
    # offset the last would be 31.9, and with antialias all would be the means of nine columns.
    position = (torch.arange(4) + 0.5) * 37 / 4.1 - 0.5
    torch.testing.assert_close(resampled[2], position, atol=0.06, rtol=0)


def test_position_embedding_of_registers_is_resampled_to_the_exact_size():
    columns = torch.arange(37.0)
    embedding = torch.zeros(1, 1 + 37 * 37, 1)
    embedding[0, 1:, 0] = columns.repeat(37)
    exact = interpolate_position_embedding(embedding, 74, 74, has_registers=True)
    resampled = exact[0, 1:].view(74, 74)
    position = (torch.arange(74) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resampled[40, 3:-3], position[3:-3], atol=0.06, rtol=0)
    assert not torch.allclose(exact, interpolate_position_embedding(embedding, 74, 74))


def test_position_embedding_keeps_its_dtype():
    embedding = torch.randn(1, 1 + 37 * 37, 8, dtype=torch.bfloat16)
    assert interpolate_position_embedding(embedding, 6, 8).dtype == torch.bfloat16


def test_layers_come_from_one_pass_and_the_last_agrees_with_timm(vit_s):
    image = torch.randn(1, 3, 518, 518)  # timm resamples nothing at its own size
    first, last = layer_tokens(vit_s, image, [3, 11])
    torch.testing.assert_close(last, vit_s.forward_features(image), atol=1e-4, rtol=1e-4)
    assert first.shape == last.shape == (1, 1 + 37 * 37, 384)
    assert not torch.allclose(first, last)


def test_an_image_is_rounded_to_the_weights_dtype(vit_s):
    half, image = copy.deepcopy(vit_s).bfloat16(), torch.randn(1, 3, 28, 42)
    (tokens,) = layer_tokens(half, image, [0])
    assert tokens.dtype == torch.bfloat16
    assert torch.equal(tokens, layer_tokens(half, image.bfloat16(), [0])[0])


def test_imagenet_normalize_maps_the_mean_to_zero():
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    torch.testing.assert_close(imagenet_normalize(mean), torch.zeros(1, 3, 1, 1))
