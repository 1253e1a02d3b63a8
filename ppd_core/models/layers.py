"""The pieces of SP-DiT: attention with 2-D RoPE and QK norm, MLP, adaLN-Zero.

Attribute names follow the published checkpoints, so that `state_dict()` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.models.attention import AttentionKernel

ROPE_BASE = 100.0
TIME_SINUSOIDS = 256

RopeTable = tuple[Tensor, Tensor]
"""(cosines, sines), each (N, head_dim), for the N = rows * cols tokens of a grid."""


def rope_table(
    rows: int, cols: int, head_dim: int, device: torch.device, dtype: torch.dtype
) -> RopeTable:
    """Angles of 2-D rotary position embedding for a row-major grid of tokens.

    The first half of a head's channels turns with the row, the second with the column; channel
    pairs are (i, i + head_dim / 4) within a half. Not cached: a table kept from inference mode or
    from a traced pass would break whoever asks next.

    Args:
        head_dim: channels of a head, a multiple of 4.
        dtype: of the tables; float32 for a half-precision model, too.

    Source: RoFormer, arXiv 2104.09864; base 100 as in the published PPD.
    """
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=device, dtype=torch.float32) / half
    frequencies = (1.0 / ROPE_BASE**exponents).to(dtype)
    by_row = torch.arange(rows, device=device, dtype=dtype)[:, None] * frequencies
    by_col = torch.arange(cols, device=device, dtype=dtype)[:, None] * frequencies
    angles = torch.cat(
        [
            by_row.repeat(1, 2)[:, None].expand(rows, cols, half),
            by_col.repeat(1, 2)[None].expand(rows, cols, half),
        ],
        dim=-1,
    ).reshape(rows * cols, head_dim)
    return angles.cos(), angles.sin()


def apply_rope(x: Tensor, table: RopeTable) -> Tensor:
    """Rotate the channel pairs of (B, heads, N, head_dim) by the table's angles."""
    cos, sin = table
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    turned = torch.stack([-second, first], dim=-2).flatten(-3)
    return (x * cos + turned * sin).to(x.dtype)


class Attention(nn.Module):
    """Self-attention with LayerNorm on queries and keys, and 2-D RoPE.

    Attributes:
        kernel: what computes it; a backend may put a faster one in its place.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kernel: AttentionKernel = F.scaled_dot_product_attention
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // num_heads)
        self.k_norm = nn.LayerNorm(dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: RopeTable) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q = apply_rope(self.q_norm(q), rope)
        k = apply_rope(self.k_norm(k), rope)
        x = self.kernel(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a tanh-approximated GELU between."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x (1 + scale) + shift`, with (B, D) shift and scale for (B, N, D) tokens."""
    return x * (1 + scale[:, None]) + shift[:, None]


class DitBlock(nn.Module):
    """A transformer block whose norms and residuals are set by the timestep (adaLN-Zero).

    Source: DiT, arXiv 2212.09748.
    """

    MODULATION_ROWS = 6
    """Shift, scale and gate of the attention, then of the MLP."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))

    def modulation(self, time: Tensor) -> Tensor:
        """What the time embedding (B, D) makes of this block, (B, MODULATION_ROWS, D)."""
        return self.adaLN_modulation(time).unflatten(1, (self.MODULATION_ROWS, -1))

    def forward(self, x: Tensor, modulation: Tensor, rope: RopeTable) -> Tensor:
        """Tokens (B, N, D) under `modulation` of B times, or of one for all."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation.unbind(1)
        x = x + gate_1[:, None] * self.attn(modulate(self.norm1(x), shift_1, scale_1), rope)
        return x + gate_2[:, None] * self.mlp(modulate(self.norm2(x), shift_2, scale_2))


class FinalLayer(nn.Module):
    """Tokens to the pixels of their patch, under the timestep's modulation."""

    MODULATION_ROWS = 2
    """Shift and scale."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(dim, out_dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))

    def modulation(self, time: Tensor) -> Tensor:
        """What the time embedding (B, D) makes of this layer, (B, MODULATION_ROWS, D)."""
        return self.adaLN_modulation(time).unflatten(1, (self.MODULATION_ROWS, -1))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(B, N, D) under `modulation` of B times, or of one -> (B, N, out_dim)."""
        shift, scale = modulation.unbind(1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class PatchProjection(nn.Conv2d):
    """A convolution whose square kernel is its stride, as what it is: one matrix product over the
    pixels of each patch.

    Weights have the names and shapes of a convolution's, as they are published. It is not computed
    as one: oneDNN 3.13 (torch 2.15) makes of 4, 6 or 8 channels in bfloat16 numbers that have
    nothing to do with them on a CPU with AMX, and the product is the faster of the two.
    """

    def __init__(self, in_channels: int, dim: int, patch_px: int) -> None:
        super().__init__(in_channels, dim, patch_px, stride=patch_px)

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> PatchProjection:
        """With the very parameters of a convolution."""
        (patch_px, *_), bias = convolution.kernel_size, convolution.bias
        with torch.device("meta"):  # Nothing is drawn for weights that are there.
            projection = cls(convolution.in_channels, convolution.out_channels, patch_px)
        projection.weight, projection.bias = convolution.weight, bias
        return projection

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), sides multiples of the patch's p -> (B, D, H/p, W/p)."""
        patches = F.pixel_unshuffle(x, self.kernel_size[0])  # the weight's order: C, p, p
        tokens = F.linear(patches.movedim(1, -1), self.weight.flatten(1), self.bias)
        return tokens.movedim(-1, 1)


class PatchEmbedder(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, in_channels: int, dim: int, patch_px: int) -> None:
        super().__init__()
        self.proj = PatchProjection(in_channels, dim, patch_px)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/p * W/p, D), row by row."""
        return self.proj(x).flatten(2).transpose(1, 2)


class TimestepEmbedder(nn.Module):
    """A timestep in [0, 1000] to a vector, through sinusoids (cosines first)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_SINUSOIDS, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) -> (B, D)."""
        half = TIME_SINUSOIDS // 2
        steps = torch.arange(half, device=t.device, dtype=torch.float32)
        frequencies = torch.exp(-math.log(10_000) * steps / half)
        # Sinusoids in float32: bfloat16 cannot tell neighbouring timesteps apart.
        angles = t[:, None].float() * frequencies
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(sinusoids.to(next(self.parameters()).dtype))


def alike_blocks(models: nn.Module) -> Iterator[list[nn.Module]]:
    """The lists of transformer blocks in it: many of one class, each with parts of its own."""
    for part in models.modules():
        if isinstance(part, nn.ModuleList | nn.Sequential):
            blocks = list(part)
            if len(blocks) > 1 and len(set(map(type, blocks))) == 1 and hasattr(blocks[0], "attn"):
                yield blocks
