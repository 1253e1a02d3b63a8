"""ViT backbones through timm: DINOv2, with the position embedding of the original, and MAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.models.layers import PatchProjection

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

PATCH_PX = 14
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_TIMM_NAMES = {
    "s": "vit_small_patch14_dinov2",
    "b": "vit_base_patch14_dinov2",
    "l": "vit_large_patch14_dinov2",
}
_TIMM_MAE_NAMES = {"b": "vit_base_patch16_224.mae", "l": "vit_large_patch16_224.mae"}
# DINOv2 adds this to the grid's sides before it divides; its weights were trained with it.
_INTERPOLATION_OFFSET = 0.1


def dinov2(size: str) -> VisionTransformer:
    """A DINOv2 ViT of size "s", "b" or "l", patch 14, its weights not loaded yet.

    Names in `state_dict()` are those of the original release.
    """
    import timm  # imports torchvision: seconds that `import ppd_core` must not pay for

    vit = _with_projection(timm.create_model(_TIMM_NAMES[size], num_classes=0))
    # Released files carry it, timm does not; without it they would not load strictly.
    vit.mask_token = nn.Parameter(torch.zeros(1, vit.embed_dim))
    return vit


def mae(size: str) -> VisionTransformer:
    """An MAE encoder of size "b" or "l", patch 16, its weights not loaded yet.

    It takes (B, 3, 16 rows, 16 cols), ImageNet-normalised; its position embedding, of 14 x 14
    patches, is resampled bicubically to any other grid, as where MAE is tuned at other sizes.
    Names in `state_dict()` are those of the original release.

    Source: MAE, arXiv 2111.06377.
    """
    import timm

    name = _TIMM_MAE_NAMES[size]
    return _with_projection(timm.create_model(name, num_classes=0, dynamic_img_size=True))


def _with_projection(model: nn.Module) -> VisionTransformer:
    vit = cast("VisionTransformer", model)
    vit.patch_embed.proj = PatchProjection.of(vit.patch_embed.proj)
    return vit


def interpolate_position_embedding(
    pos_embed: Tensor, rows: int, cols: int, *, has_registers: bool = False
) -> Tensor:
    """Resample a square grid of position embeddings as the original DINOv2 does.

    Bicubic without antialias, the scale taken from (side + 0.1) / grid side. timm resamples to
    the exact size with antialias and drifts by about 1 % at 1024 x 768.

    Args:
        pos_embed: (1, 1 + g * g, D), the class token's first.
        has_registers: of DINOv2 with registers, whose authors do as timm does.

    Returns:
        (1, 1 + rows * cols, D), in the same dtype.

    Source: DINOv2, arXiv 2304.07193, and its released code.
    """
    grid_side = round((pos_embed.shape[1] - 1) ** 0.5)
    if rows == cols == grid_side:
        return pos_embed
    grid = pos_embed[:, 1:].unflatten(1, (grid_side, grid_side)).permute(0, 3, 1, 2)
    grid = _at_least_float32(grid)
    if has_registers:
        grid = F.interpolate(grid, (rows, cols), mode="bicubic", antialias=True)
    else:
        scale = tuple((side + _INTERPOLATION_OFFSET) / grid_side for side in (rows, cols))
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    grid = grid.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([pos_embed[:, :1], grid], dim=1)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def layer_tokens(vit: VisionTransformer, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """The final-norm tokens after each of the given blocks, in one pass.

    Args:
        vit: from `dinov2`.
        image: (B, 3, 14 rows, 14 cols), ImageNet-normalised, in any dtype.
        layers: block indices, rising.

    Returns:
        For each layer (B, 1 + rows * cols, D), the class token first.
    """
    rows, cols = image.shape[-2] // PATCH_PX, image.shape[-1] // PATCH_PX
    assert vit.cls_token is not None and vit.pos_embed is not None  # every DINOv2 has both
    patches = vit.patch_embed.proj(image.to(vit.cls_token.dtype)).flatten(2).transpose(1, 2)
    tokens = torch.cat([vit.cls_token.expand(len(image), -1, -1), patches], dim=1)
    tokens = tokens + interpolate_position_embedding(vit.pos_embed, rows, cols)
    outputs = []
    for index, block in enumerate(vit.blocks[: layers[-1] + 1]):
        tokens = block(tokens)
        if index in layers:
            outputs.append(vit.norm(tokens))
    return outputs


def imagenet_normalize(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] to zero mean and unit deviation over ImageNet."""
    return (image - _per_channel(IMAGENET_MEAN, image)) / _per_channel(IMAGENET_STD, image)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """(1, C, 1, 1) in dtype and on the device of `like`."""
    # Not by `torch.tensor`: that is a copy from the host, which waits, and cannot be captured.
    return torch.cat([like.new_full((1, 1, 1, 1), value) for value in values], dim=1)
