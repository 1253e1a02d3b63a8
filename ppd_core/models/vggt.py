"""VGGT's backbone as a semantic prompt: DINOv2 with registers, then alternating attention.

VGGT looks at many images; its blocks attend within each image and across all of them in turn.
Of one image both see the same tokens. Attribute names follow the published checkpoint, less its
`aggregator.`, so that `state_dict()` does.

Source: VGGT, arXiv 2503.11651, and the settings published with its weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.models.layers import Attention, RopeTable, rope_table
from ppd_core.models.vit import PATCH_PX, dinov2, interpolate_position_embedding

NUM_REGISTERS = 4
HEAD_WIDTH = 64


class VggtPrompt(nn.Module):
    """The patch tokens as they leave the last block.

    PPD's paper does not tell which of VGGT's tokens prompted its model. VGGT's own heads read
    what leaves a frame block beside what leaves the global block after it; the latter alone is
    as wide as the other prompts, and holds the sum of all blocks.

    Args:
        size: of the ViT; published as "l".
        depth: pairs of blocks.
    """

    def __init__(self, size: str, depth: int = 24) -> None:
        super().__init__()
        self.patch_embed = dinov2(size)
        dim = self.patch_embed.embed_dim
        self.patch_embed.register_tokens = nn.Parameter(torch.zeros(1, NUM_REGISTERS, dim))
        # Of the first image, and of all others.
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, dim))
        self.register_token = nn.Parameter(torch.zeros(1, 2, NUM_REGISTERS, dim))
        self.frame_blocks = nn.ModuleList(_Block(dim) for _ in range(depth))
        self.global_blocks = nn.ModuleList(_Block(dim) for _ in range(depth))

    def forward(self, image_14: Tensor) -> Tensor:
        """(B, 3, 14 rows, 14 cols), ImageNet-normalised, any dtype -> (B, rows * cols, C)."""
        rows, cols = image_14.shape[-2] // PATCH_PX, image_14.shape[-1] // PATCH_PX
        first = torch.cat([self.camera_token[:, 0], self.register_token[:, 0]], dim=1)
        patches = self._patch_tokens(image_14, rows, cols)
        tokens = torch.cat([first.expand(len(image_14), -1, -1), patches], dim=1)
        rope = _rope(rows, cols, first.shape[1], tokens.device)
        for frame_block, global_block in zip(self.frame_blocks, self.global_blocks, strict=True):
            tokens = global_block(frame_block(tokens, rope), rope)
        return tokens[:, first.shape[1] :]

    def _patch_tokens(self, image_14: Tensor, rows: int, cols: int) -> Tensor:
        """The final-norm patch tokens of DINOv2 with registers."""
        vit = self.patch_embed
        assert vit.cls_token is not None and vit.pos_embed is not None  # every DINOv2 has both
        patches = vit.patch_embed.proj(image_14.to(vit.cls_token.dtype)).flatten(2).transpose(1, 2)
        tokens = torch.cat([vit.cls_token.expand(len(image_14), -1, -1), patches], dim=1)
        tokens = tokens + interpolate_position_embedding(
            vit.pos_embed, rows, cols, has_registers=True
        )
        registers = vit.get_parameter("register_tokens").expand(len(image_14), -1, -1)
        tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        for block in vit.blocks:
            tokens = block(tokens)
        return vit.norm(tokens)[:, 1 + NUM_REGISTERS :]


class _Block(nn.Module):
    """A pre-norm transformer block with 2-D RoPE, QK norm and scaled residuals."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, dim // HEAD_WIDTH)
        self.ls1 = _LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _Mlp(dim)
        self.ls2 = _LayerScale(dim)

    def forward(self, x: Tensor, rope: RopeTable) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rope))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _LayerScale(nn.Module):
    """Each channel by its own factor."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Mlp(nn.Module):
    """Two linear layers with an exact GELU between; SP-DiT's is the approximated one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def _rope(rows: int, cols: int, count: int, device: torch.device) -> RopeTable:
    """Angles of `count` tokens that are no patches, all at (0, 0), and of patches from (1, 1)."""

    def of_tokens(grid: Tensor) -> Tensor:
        grid = grid.unflatten(0, (rows + 1, cols + 1))
        return torch.cat([grid[0, :1].expand(count, -1), grid[1:, 1:].flatten(0, 1)])

    cosines, sines = rope_table(rows + 1, cols + 1, HEAD_WIDTH, device, torch.float32)
    return of_tokens(cosines), of_tokens(sines)
