"""SP-DiT: the semantics-prompted, cascaded diffusion transformer.

Source: Pixel-Perfect Depth, arXiv 2510.07316.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.config import COARSE_PATCH_PX, FINE_PATCH_PX, SpDitConfig
from ppd_core.models.layers import (
    DitBlock,
    FinalLayer,
    PatchEmbedder,
    RopeTable,
    TimestepEmbedder,
    rope_table,
)

IN_CHANNELS = 4
"""x_t and the image's three channels."""


class SpDit(nn.Module):
    """Half of the blocks on coarse tokens, the semantic prompt, half on fine tokens.

    Without the cascade every block works on fine tokens; without semantics nothing is fused (and
    the cascade's coarse tokens are split by the same MLP, fed with themselves alone). With a fine
    input the cascade's fine tokens get their own patches, too.
    """

    def __init__(self, config: SpDitConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.config = config
        self.patch_px = COARSE_PATCH_PX if config.has_cascade else FINE_PATCH_PX
        self.x_embedder = PatchEmbedder(IN_CHANNELS, dim, self.patch_px)
        self.t_embedder = TimestepEmbedder(dim)
        self.blocks = nn.ModuleList(
            DitBlock(dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        if config.has_semantics or config.has_cascade:
            prompt_dim = config.semantics_dim if config.has_semantics else 0
            out_dim = 4 * dim if config.has_cascade else dim
            self.proj_fusion = nn.Sequential(
                nn.Linear(dim + prompt_dim, 4 * dim),
                nn.SiLU(),
                nn.Linear(4 * dim, 4 * dim),
                nn.SiLU(),
                nn.Linear(4 * dim, out_dim),
            )
        if config.has_cascade and config.has_fine_input:
            self.fine_embedder = PatchEmbedder(IN_CHANNELS, dim, FINE_PATCH_PX)
        self.final_layer = FinalLayer(dim, FINE_PATCH_PX**2)

    def forward(self, x: Tensor, semantics: Tensor | None, timestep: Tensor) -> Tensor:
        """Predict the velocity, or x_0 where `config.prediction` says so.

        Args:
            x: (B, 4, H, W), `[x_t, image - 0.5]`, H and W multiples of 16.
            semantics: (B, H/16 * W/16, C) prompt tokens; None when the config has none.
            timestep: (B,) in [0, 1000].

        Returns:
            (B, 1, H, W).
        """
        return self.denoise(x, semantics, self.modulation(timestep), self.ropes(x))

    def modulation(self, timestep: Tensor) -> Tensor:
        """All that the network takes from the time: what every block and the last layer do to
        their norms and residuals.

        Args:
            timestep: (B,) in [0, 1000].

        Returns:
            (B, 6 depth + 2, D), the blocks' in their order and then the last layer's.
        """
        time = self.t_embedder(timestep)
        layers = [*self.blocks, self.final_layer]
        return torch.cat([layer.modulation(time) for layer in layers], dim=1)

    def ropes(self, x: Tensor) -> tuple[RopeTable, RopeTable]:
        """All that the network takes from the size of (B, C, H, W): the angles of the first half
        of the blocks and of the second."""
        head_dim = self.config.hidden_size // self.config.num_heads
        dtype = torch.promote_types(x.dtype, torch.float32)
        first, second = (
            rope_table(x.shape[-2] // patch_px, x.shape[-1] // patch_px, head_dim, x.device, dtype)
            for patch_px in (self.patch_px, FINE_PATCH_PX)
        )
        return first, second

    def denoise(
        self,
        x: Tensor,
        semantics: Tensor | None,
        modulation: Tensor,
        ropes: tuple[RopeTable, RopeTable],
    ) -> Tensor:
        """`forward` with what a sampler computes once for many frames.

        Args:
            x, semantics: as in `forward`.
            modulation: of B times, or of one for all.
            ropes: of this size.
        """
        rows, cols = x.shape[-2] // self.patch_px, x.shape[-1] // self.patch_px
        of_blocks, of_final = modulation.tensor_split([-FinalLayer.MODULATION_ROWS], dim=1)
        of_each = of_blocks.split(DitBlock.MODULATION_ROWS, dim=1)
        middle = len(self.blocks) // 2

        tokens = self.x_embedder(x)
        for block, own in zip(self.blocks[:middle], of_each[:middle], strict=True):
            tokens = block(tokens, own, ropes[0])

        tokens = self._fuse(tokens, semantics, rows, cols)
        if self.config.has_cascade and self.config.has_fine_input:
            tokens = tokens + self.fine_embedder(x)
        for block, own in zip(self.blocks[middle:], of_each[middle:], strict=True):
            tokens = block(tokens, own, ropes[1])

        rows, cols = x.shape[-2] // FINE_PATCH_PX, x.shape[-1] // FINE_PATCH_PX
        return tokens_to_image(self.final_layer(tokens, of_final), rows, cols)

    def _fuse(self, tokens: Tensor, semantics: Tensor | None, rows: int, cols: int) -> Tensor:
        """Join the prompt, and split each coarse token into 2 x 2 fine ones."""
        if self.config.has_semantics:
            if semantics is None:
                raise ValueError("this SP-DiT is prompted: semantics must be a tensor, got None")
            # The prompt's magnitude differs from the tokens'; its direction is what counts.
            semantics = F.normalize(semantics, dim=-1)
            if not self.config.has_cascade:
                semantics = upsample_tokens(semantics, rows // 2, cols // 2)
            tokens = torch.cat([tokens, semantics.to(tokens.dtype)], dim=-1)
        if self.config.has_cascade:
            return split_tokens(self.proj_fusion(tokens), rows, cols)
        return self.proj_fusion(tokens) if self.config.has_semantics else tokens


def split_tokens(tokens: Tensor, rows: int, cols: int) -> Tensor:
    """Read each 4D-wide token as a 2 x 2 block of D-wide ones.

    (B, rows * cols, 4 D) -> (B, 2 rows * 2 cols, D), row by row.
    """
    blocks = tokens.unflatten(-1, (2, 2, -1)).unflatten(1, (rows, cols))
    return blocks.transpose(2, 3).flatten(1, 4)


def upsample_tokens(tokens: Tensor, rows: int, cols: int) -> Tensor:
    """Bilinear interpolation of a token grid to twice its sides; (B, N, C) -> (B, 4 N, C)."""
    grid = tokens.transpose(1, 2).unflatten(-1, (rows, cols))
    grid = F.interpolate(grid, scale_factor=2, mode="bilinear", align_corners=False)
    return grid.flatten(2).transpose(1, 2)


def tokens_to_image(tokens: Tensor, rows: int, cols: int) -> Tensor:
    """Lay out each token's p * p values as its patch; (B, N, p * p) -> (B, 1, H, W)."""
    patches = tokens.unflatten(-1, (FINE_PATCH_PX, FINE_PATCH_PX)).unflatten(1, (rows, cols))
    return patches.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, None]
