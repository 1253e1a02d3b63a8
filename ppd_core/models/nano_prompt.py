"""The small discriminative depth model whose features prompt the nano SP-DiT.

It stands where Depth Anything V2 stands in the paper: trained first, by regression, then frozen.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.config import COARSE_PATCH_PX
from ppd_core.models.layers import Attention, Mlp, RopeTable, rope_table
from ppd_core.models.vit import imagenet_normalize

TOKEN_WIDTH = 256
NUM_HEADS = 4
NUM_BLOCKS = 6
STEM_WIDTHS = (32, 64, 128)
"""Channels at 1/2, 1/4 and 1/8 of the image's sides."""
DETAIL_WIDTH = 16
DETAIL_PX = 4
"""Side of the pixel block that one detail vector describes."""
WIDTH = TOKEN_WIDTH + DETAIL_WIDTH * (COARSE_PATCH_PX // DETAIL_PX) ** 2


class NanoPrompt(nn.Module):
    """A convolutional stem, a ViT at 1/16, a light decoder back to 1/4, and a depth head.

    Depth Anything's tokens come from 300 M parameters and tell what a 16 x 16 patch holds; a ViT
    of this size keeps its patch's detail in the stem's skips. So the prompt joins both: the
    ViT's tokens, and the decoder's 16 channels at 1/4, laid out by patch.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth = STEM_WIDTHS
        self.stem = nn.Sequential(_Down(3 + 2, half), _Down(half, quarter), _Residual(quarter))
        self.to_eighth = nn.Sequential(_Down(quarter, eighth), _Residual(eighth))
        self.to_tokens = nn.Conv2d(eighth, TOKEN_WIDTH, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Block() for _ in range(NUM_BLOCKS))
        self.norm = nn.LayerNorm(TOKEN_WIDTH)
        self.up_eighth = _Up(TOKEN_WIDTH, eighth)
        self.up_quarter = _Up(eighth, quarter)
        self.detail = nn.Conv2d(quarter, DETAIL_WIDTH, 1)
        self.head = nn.Conv2d(DETAIL_WIDTH, DETAIL_PX**2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """The semantic prompt.

        Args:
            image: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, h/16 * w/16, WIDTH).
        """
        tokens, detail = self._features(image)
        by_patch = F.pixel_unshuffle(detail, COARSE_PATCH_PX // DETAIL_PX)
        return torch.cat([tokens, by_patch.flatten(2).transpose(1, 2)], dim=-1)

    def predict_field(self, image: Tensor) -> Tensor:
        """Depth by regression: the field x_0 that `depth_target` makes.

        Args:
            image: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, 1, h, w), about -0.5 (near) to 0.5 (far).
        """
        return F.pixel_shuffle(self.head(self._features(image)[1]), DETAIL_PX)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, TOKEN_WIDTH) at 1/16 and detail (B, DETAIL_WIDTH, h/4, w/4)."""
        # Channels last: the layout that convolutions on a CPU and on tensor cores work in.
        image = torch.cat([imagenet_normalize(image), position_channels(image)], dim=1)
        dtype = self.detail.weight.dtype
        quarter = self.stem(image.to(dtype, memory_format=torch.channels_last))
        eighth = self.to_eighth(quarter)
        grid = self.to_tokens(eighth)
        rows, cols = grid.shape[-2:]
        rope = rope_table(rows, cols, TOKEN_WIDTH // NUM_HEADS, grid.device, torch.float32)
        tokens = grid.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = cast(_Block, block)(tokens, rope)
        tokens = self.norm(tokens)
        grid = tokens.transpose(1, 2).unflatten(-1, (rows, cols)).to(eighth.dtype)
        decoded = self.up_quarter(self.up_eighth(grid, eighth), quarter)
        return tokens, F.gelu(self.detail(decoded))


def position_channels(image: Tensor) -> Tensor:
    """Each pixel's place in the image: the floor is at the bottom, and RoPE knows no bottom.

    Returns:
        (B, 2, h, w) for (B, 3, h, w): column and row, -1 to 1 from border to border.
    """
    rows, cols = (
        torch.linspace(-1, 1, side, device=image.device, dtype=image.dtype)
        for side in image.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(rows, cols, indexing="ij")[::-1])
    return grid.expand(len(image), -1, -1, -1)


class _Norm(nn.GroupNorm):
    """Statistics of each image alone, so that a batch and its images agree."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels // 16, channels)


class _Down(nn.Module):
    """Half the sides."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = _Norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(x)))


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = _Norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = _Norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.gelu(self.norm1(x)))
        return x + self.conv2(F.gelu(self.norm2(y)))


class _Up(nn.Module):
    """Twice the sides, joined with the stem's features of that size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        self.fuse = _Residual(out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=2, mode="nearest")
        return self.fuse(x + skip)


class _Block(nn.Module):
    """A pre-norm transformer block with 2-D RoPE."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(TOKEN_WIDTH)
        self.attn = Attention(TOKEN_WIDTH, NUM_HEADS)
        self.norm2 = nn.LayerNorm(TOKEN_WIDTH)
        self.mlp = Mlp(TOKEN_WIDTH, 4 * TOKEN_WIDTH)

    def forward(self, x: Tensor, rope: RopeTable) -> Tensor:
        x = x + self.attn(self.norm1(x), rope)
        return x + self.mlp(self.norm2(x))
