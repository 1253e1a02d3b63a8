"""The network that says how probable each of a pixel's surfaces is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_CORRECTION_LOG = 0.02
"""In log depth: how far the answer may be from the chosen surface."""
_STRIDE = 16


@dataclass(frozen=True)
class SurfaceNetConfig:
    """The size of a `SurfaceNet`.

    Args:
        features: channels of its input.
        hypotheses: K, depths to choose from.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the image.
        full_width: channels at full resolution.
    """

    features: int
    hypotheses: int
    widths: tuple[int, int, int, int] = (24, 40, 64, 96)
    full_width: int = 16

    def __post_init__(self) -> None:
        for name in ("features", "hypotheses", "full_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if len(self.widths) != 4 or any(one < 8 or one % 8 for one in self.widths):
            raise ValueError(f"widths must be four multiples of 8, got {self.widths}")


class SurfaceNet(nn.Module):
    """A U-Net from half resolution down, and a head at full resolution.

    Pixels are packed 2 x 2 on the way in and unpacked on the way out: context is wanted at half
    resolution, the decision at each pixel.
    """

    def __init__(self, config: SurfaceNetConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.stem = nn.Conv2d(4 * config.features, w[0], 1)
        self.down = nn.ModuleList([_level(w[0], w[0], is_halved=False)])
        self.down.extend(_level(w[level - 1], w[level], is_halved=True) for level in (1, 2, 3))
        self.up = nn.ModuleList(
            nn.Sequential(_conv(w[level] + w[level + 1], w[level]), _Residual(w[level]))
            for level in (2, 1, 0)
        )
        self.unpack = nn.Conv2d(w[0], 4 * config.full_width, 1)
        self.at_pixel = nn.Conv2d(config.features, config.full_width, 1)
        self.head = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(config.full_width, config.full_width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(config.full_width, config.hypotheses + 1, 1),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh the hypotheses.

        Args:
            features: (B, C, H, W) float32, from `alignment.hypotheses`.

        Returns:
            (B, K, H, W) logits, and (B, 1, H, W) a correction in log depth, at most
            `MAX_CORRECTION_LOG` either way.
        """
        height, width = features.shape[-2:]
        padded = F.pad(features, (0, -width % _STRIDE, 0, -height % _STRIDE), mode="replicate")
        x = self.stem(F.pixel_unshuffle(padded, 2))
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0), skip], dim=1))
        x = F.pixel_shuffle(self.unpack(x), 2) + self.at_pixel(padded)
        answer = self.head(x)[..., :height, :width]
        logits, correction = answer[:, :-1], answer[:, -1:]
        return logits, MAX_CORRECTION_LOG * torch.tanh(correction)


def _level(before: int, width: int, *, is_halved: bool) -> nn.Sequential:
    halve = [nn.AvgPool2d(2)] if is_halved else []
    return nn.Sequential(*halve, _conv(before, width), _Residual(width))


def _conv(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.SiLU()
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)
