from __future__ import annotations

import pytest
import torch
from torch import nn

from ppd_core.config import PROMPT_SIZES, PromptConfig, SpDitConfig
from ppd_core.models.layers import (
    Attention,
    DitBlock,
    PatchProjection,
    TimestepEmbedder,
    apply_rope,
    modulate,
    rope_table,
)
from ppd_core.models.semantics import build_encoder
from ppd_core.models.sp_dit import SpDit

CPU = torch.device("cpu")


def test_rope_leaves_the_first_token_alone_and_keeps_lengths():
    x = torch.randn(2, 3, 12, 16)
    turned = apply_rope(x, rope_table(3, 4, 16, CPU, torch.float32))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rope_scores_depend_on_relative_position_only():
    rows, cols, dim = 5, 6, 16
    table = rope_table(rows, cols, dim, CPU, torch.float64)
    q, k = torch.randn(2, dim, dtype=torch.float64)
    everywhere = torch.ones(1, 1, rows * cols, 1, dtype=torch.float64)
    turned_q = apply_rope(everywhere * q, table)[0, 0]
    turned_k = apply_rope(everywhere * k, table)[0, 0]
    scores = (turned_q @ turned_k.T).view(rows, cols, rows, cols)
    torch.testing.assert_close(scores[0, 0, 1, 2], scores[3, 3, 4, 5])
    assert not torch.isclose(scores[0, 0, 1, 2], scores[0, 0, 2, 1])


def test_rope_turns_the_first_half_by_row_and_the_second_by_column():
    x = torch.randn(1, 1, 6, 8)
    turned = apply_rope(x, rope_table(2, 3, 8, CPU, torch.float32))
    first_row, first_col = slice(0, 3), slice(0, 6, 3)
    torch.testing.assert_close(turned[:, :, first_row, :4], x[:, :, first_row, :4])
    torch.testing.assert_close(turned[:, :, first_col, 4:], x[:, :, first_col, 4:])


def test_rope_by_complex_numbers_gives_the_same():
    rows, cols, dim = 3, 4, 8
    x = torch.randn(1, 2, rows * cols, dim, dtype=torch.float64)
    row = torch.arange(rows).repeat_interleave(cols)
    col = torch.arange(cols).repeat(rows)
    frequencies = 100.0 ** -(torch.arange(0, dim // 2, 2) / (dim // 2)).double()
    halves = []
    for half, position in zip(x.chunk(2, dim=-1), (row, col), strict=True):
        first, second = half.chunk(2, dim=-1)
        turned = torch.complex(first, second) * torch.exp(1j * position[:, None] * frequencies)
        halves += [turned.real, turned.imag]
    expected = torch.cat(halves, dim=-1)
    found = apply_rope(x, rope_table(rows, cols, dim, CPU, torch.float64))
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6)


def test_rope_keeps_half_precision():
    x = torch.randn(1, 1, 4, 8, dtype=torch.bfloat16)
    assert apply_rope(x, rope_table(2, 2, 8, CPU, torch.float32)).dtype == torch.bfloat16


def test_attention_is_blind_to_a_shift_of_the_whole_grid():
    attention = Attention(32, 2).eval()
    tokens = torch.randn(1, 2, 32)
    near = rope_table(4, 4, 16, CPU, torch.float32)

    def pair(i, j):
        index = torch.tensor([i, j])
        return attention(tokens, (near[0][index], near[1][index]))

    torch.testing.assert_close(pair(0, 5), pair(10, 15), atol=1e-5, rtol=1e-5)


def test_modulate_shifts_and_scales_each_sample_by_its_own():
    x = torch.ones(2, 3, 1)
    out = modulate(x, shift=torch.tensor([[1.0], [2.0]]), scale=torch.tensor([[0.0], [1.0]]))
    assert out[:, 0, 0].tolist() == [2.0, 4.0]


def test_a_block_with_zero_gates_passes_tokens_through():
    block = DitBlock(32, 2, mlp_ratio=4)
    torch.nn.init.zeros_(block.adaLN_modulation[1].weight)
    torch.nn.init.zeros_(block.adaLN_modulation[1].bias)
    x = torch.randn(1, 4, 32)
    modulation = block.modulation(torch.randn(1, 32))
    out = block(x, modulation, rope_table(2, 2, 16, CPU, torch.float32))
    torch.testing.assert_close(out, x)


def test_neighbouring_timesteps_stay_apart_in_bfloat16():
    embed = TimestepEmbedder(64).to(torch.bfloat16)
    embed.mlp[0] = torch.nn.Identity()
    embed.mlp[2] = torch.nn.Linear(256, 64, dtype=torch.bfloat16)
    a, b = embed(torch.tensor([999, 1000]))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("patch_px", [14, 16])
def test_a_patch_projection_is_the_convolution_of_its_weights(patch_px):
    convolution = nn.Conv2d(4, 24, patch_px, stride=patch_px).double()
    projection = PatchProjection.of(convolution)
    assert projection.state_dict().keys() == convolution.state_dict().keys()
    x = torch.randn(2, 4, 3 * patch_px, 2 * patch_px, dtype=torch.float64)
    torch.testing.assert_close(projection(x), convolution(x))


@pytest.mark.parametrize("kind", PROMPT_SIZES)
def test_no_patch_embedding_is_left_to_a_kernel_of_convolutions(kind):
    prompt = PromptConfig(kind, PROMPT_SIZES[kind][0])
    with torch.device("meta"):
        models = nn.ModuleList([build_encoder(prompt), SpDit(SpDitConfig(has_fine_input=True))])
    for module in models.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride != (1, 1):
            assert isinstance(module, PatchProjection)
