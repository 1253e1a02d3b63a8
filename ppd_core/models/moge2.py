"""MoGe-2: a DINOv2 encoder whose features prompt SP-DiT, and the heads that know metres.

One pass of the encoder serves both. Attribute names follow the published checkpoint
(ViT-L with normals), so that `state_dict()` does.

Source: MoGe-2, arXiv 2507.02546, and the settings published with its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.models.vit import IMAGENET_MEAN, IMAGENET_STD, PATCH_PX, dinov2, layer_tokens

_LAYERS = (5, 11, 17, 23)
_PYRAMID_WIDTHS = (1024, 256, 128, 64, 32)
_UV_CHANNELS = 2


@dataclass(frozen=True, eq=False)
class MoGe2Features:
    """What the encoder says of an image, on a grid of rows x cols tokens.

    Attributes:
        grid: (B, C, rows, cols).
        class_token: (B, C), of the last layer.
    """

    grid: Tensor
    class_token: Tensor

    @property
    def tokens(self) -> Tensor:
        """(B, rows * cols, C), row by row: the semantic prompt."""
        return self.grid.flatten(2).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class MoGe2Geometry:
    """What the heads say of an image of H x W pixels.

    Attributes:
        points: (B, H, W, 3), affine-invariant: z still lacks its shift, all of it `metric_scale`.
        normal: (B, H, W, 3), unit length.
        mask: (B, H, W) in [0, 1]; low where depth has no meaning, as in the sky.
        metric_scale: (B,), > 0, metres per unit of `points`.
    """

    points: Tensor
    normal: Tensor
    mask: Tensor
    metric_scale: Tensor


class MoGe2(nn.Module):
    """The whole network; `encode` once, then read the prompt, the geometry, or both."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.neck = _ConvStack(
            in_channels=(_PYRAMID_WIDTHS[0] + _UV_CHANNELS, *[_UV_CHANNELS] * 4),
            residual_blocks=(0, 2, 2, 2, 0),
            out_channels=None,
        )
        self.points_head = _head(3)
        self.mask_head = _head(1)
        self.normal_head = _head(3)
        self.scale_head = nn.Sequential(
            nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1)
        )

    def encode(self, image_14: Tensor) -> MoGe2Features:
        """Run the encoder on (B, 3, 14 rows, 14 cols) in [0, 1], not normalised."""
        return self.encoder(image_14)

    def forward(self, image_14: Tensor) -> Tensor:
        """The semantic prompt alone: (B, rows * cols, C)."""
        return self.encode(image_14).tokens

    def geometry(self, features: MoGe2Features, height: int, width: int) -> MoGe2Geometry:
        """Run the heads, for an image of `height` x `width` pixels."""
        rows, cols = features.grid.shape[-2:]
        pyramid: list[Tensor] = []
        for level in range(len(_PYRAMID_WIDTHS)):
            uv = view_plane_uv(rows << level, cols << level, width / height, features.grid)
            uv = uv.expand(len(features.grid), -1, -1, -1)
            pyramid.append(torch.cat([features.grid, uv], dim=1) if level == 0 else uv)
        shared = self.neck(pyramid)

        def at_image_size(head: nn.Module) -> Tensor:
            finest = head(shared)[-1]
            finest = F.interpolate(finest, (height, width), mode="bilinear", align_corners=False)
            return finest.permute(0, 2, 3, 1)

        xy, log_z = at_image_size(self.points_head).split([2, 1], dim=-1)
        z = log_z.exp()
        return MoGe2Geometry(
            points=torch.cat([xy * z, z], dim=-1),
            normal=F.normalize(at_image_size(self.normal_head), dim=-1),
            mask=at_image_size(self.mask_head)[..., 0].sigmoid(),
            metric_scale=self.scale_head(features.class_token)[:, 0].exp(),
        )


def view_plane_uv(rows: int, cols: int, aspect_ratio: float, like: Tensor) -> Tensor:
    """Where each cell of a grid lies on a view plane whose half diagonal is 1.

    Args:
        aspect_ratio: width / height of the image that the grid covers.
        like: gives dtype and device.

    Returns:
        (1, 2, rows, cols), u to the right and v down, at the cells' centres.
    """
    half_diagonal = (1 + aspect_ratio**2) ** 0.5
    u_end = aspect_ratio / half_diagonal * (cols - 1) / cols
    v_end = 1 / half_diagonal * (rows - 1) / rows
    u = torch.linspace(-u_end, u_end, cols, dtype=like.dtype, device=like.device)
    v = torch.linspace(-v_end, v_end, rows, dtype=like.dtype, device=like.device)
    return torch.stack([u.expand(rows, cols), v[:, None].expand(rows, cols)])[None]


class _Encoder(nn.Module):
    """DINOv2, four of its layers projected and summed."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = dinov2("l")
        self.output_projections = nn.ModuleList(
            nn.Conv2d(self.backbone.embed_dim, _PYRAMID_WIDTHS[0], 1) for _ in _LAYERS
        )
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, image_14: Tensor) -> MoGe2Features:
        rows, cols = image_14.shape[-2] // PATCH_PX, image_14.shape[-1] // PATCH_PX
        normalized = (image_14 - self.image_mean) / self.image_std
        tokens = layer_tokens(self.backbone, normalized, _LAYERS)
        grids = [t[:, 1:].transpose(1, 2).unflatten(-1, (rows, cols)) for t in tokens]
        projected = [p(g) for p, g in zip(self.output_projections, grids, strict=True)]
        return MoGe2Features(torch.stack(projected).sum(0), tokens[-1][:, 0])


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="replicate")


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a skip, no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Identities hold the places of norms that this variant does without: names count.
        self.layers = nn.Sequential(
            nn.Identity(),
            nn.ReLU(),
            _conv3x3(channels, channels),
            nn.Identity(),
            nn.ReLU(),
            _conv3x3(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _upsampler(in_channels: int, out_channels: int, is_learned: bool) -> nn.Sequential:
    """To twice the size: a transposed convolution, or bilinear."""
    if is_learned:
        double: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        return nn.Sequential(double, _conv3x3(out_channels, out_channels))
    double = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(double, _conv3x3(in_channels, out_channels))


class _ConvStack(nn.Module):
    """Coarse to fine: at each level add the input, refine it, double the size."""

    def __init__(
        self,
        in_channels: tuple[int, ...],
        residual_blocks: tuple[int, ...],
        out_channels: int | None,
    ) -> None:
        super().__init__()
        widths = _PYRAMID_WIDTHS
        self.input_blocks = nn.ModuleList(
            nn.Conv2d(c, width, 1) for c, width in zip(in_channels, widths, strict=True)
        )
        self.resamplers = nn.ModuleList(
            _upsampler(a, b, is_learned=b != widths[-1]) for a, b in pairwise(widths)
        )
        self.res_blocks = nn.ModuleList(
            nn.Sequential(*(_ResidualBlock(width) for _ in range(count)))
            for count, width in zip(residual_blocks, widths, strict=True)
        )
        last = nn.Identity() if out_channels is None else nn.Conv2d(widths[-1], out_channels, 1)
        self.output_blocks = nn.ModuleList([*(nn.Identity() for _ in widths[:-1]), last])

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """One (B, C_i, rows 2^i, cols 2^i) for each level, in and out."""
        outputs = []
        x: Tensor | None = None
        for level, feature in enumerate(pyramid):
            projected = self.input_blocks[level](feature)
            x = projected if x is None else self.resamplers[level - 1](x) + projected
            x = self.res_blocks[level](x)
            outputs.append(self.output_blocks[level](x))
        return outputs


def _head(out_channels: int) -> _ConvStack:
    return _ConvStack(_PYRAMID_WIDTHS, residual_blocks=(0, 1, 1, 1, 0), out_channels=out_channels)
