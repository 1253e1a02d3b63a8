"""The small depth model on ImageNet features whose own features prompt the nano SP-DiT.

It stands where Depth Anything V2 stands in the paper: trained first, by regression, then frozen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.config import COARSE_PATCH_PX
from ppd_core.models.efficientnet import PYRAMID_WIDTHS, EfficientNetLite0

DECODER_WIDTH = 64
DECODER_BLOCKS = (1, 1, 2, 2)
"""At 1/4, 1/8, 1/16 and 1/32."""
BLOCK_KERNEL_PX = 5
DETAIL_WIDTH = 32
DETAIL_PX = 4
"""Side of the pixel block that one detail vector describes."""
MIXTURE_COMPONENTS = 3
MIN_SCALE, MAX_SCALE = 0.02, 1.0
"""Of a component, in the field's unit: below, a few pixels that are known well decide the loss."""
WIDTH = DECODER_WIDTH + DETAIL_WIDTH * (COARSE_PATCH_PX // DETAIL_PX) ** 2


class Mixture(NamedTuple):
    """Of each pixel, several Laplace distributions of the field x_0; (B, K, h, w) each.

    Attributes:
        log_weight: logarithm of how probable a component is; the exponentials sum to 1 over K.
        location: its median.
        scale: its mean absolute deviation, > 0.
    """

    log_weight: Tensor
    location: Tensor
    scale: Tensor


class EfficientNetPrompt(nn.Module):
    """EfficientNet-Lite0's stages at 1/4 to 1/32, a light decoder back to 1/4, two depth heads.

    The prompt joins what the decoder knows at 1/16 with its detail at 1/4, laid out by patch.
    Of the heads one says the field itself, and one what it may be: at a border, either surface.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        # The stages differ in magnitude: without the norms the decoder learns nothing.
        self.laterals = nn.ModuleList(
            nn.Sequential(_Norm(width), nn.Conv2d(width, DECODER_WIDTH, 1))
            for width in PYRAMID_WIDTHS
        )
        self.place = nn.Conv2d(2, DECODER_WIDTH, 1, bias=False)
        self.levels = nn.ModuleList(
            nn.Sequential(*(_DecoderBlock() for _ in range(count))) for count in DECODER_BLOCKS
        )
        self.detail = nn.Sequential(
            _Norm(DECODER_WIDTH), nn.Conv2d(DECODER_WIDTH, DETAIL_WIDTH, 1)
        )
        self.head = nn.Conv2d(DETAIL_WIDTH, DETAIL_PX**2, 1)
        self.mixture_head = nn.Conv2d(DETAIL_WIDTH, 3 * MIXTURE_COMPONENTS * DETAIL_PX**2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """The semantic prompt.

        Args:
            image: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, h/16 * w/16, WIDTH).
        """
        coarse, detail = self._features(image)
        by_patch = F.pixel_unshuffle(detail, COARSE_PATCH_PX // DETAIL_PX)
        return torch.cat([coarse, by_patch], dim=1).flatten(2).transpose(1, 2)

    def predict_field(self, image: Tensor) -> Tensor:
        """Depth by regression: the field x_0 that `depth_target` makes.

        Args:
            image: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, 1, h, w), about -0.5 (near) to 0.5 (far).
        """
        return self._field(self._features(image)[1])

    def predict_mixture(self, image: Tensor) -> Mixture:
        """What the field may be at each pixel; `image` as in `predict_field`."""
        return self._mixture(self._features(image)[1])

    def predict_both(self, image: Tensor) -> tuple[Tensor, Mixture]:
        """The field and the mixture by one pass; `image` as in `predict_field`."""
        detail = self._features(image)[1]
        return self._field(detail), self._mixture(detail)

    def _field(self, detail: Tensor) -> Tensor:
        return F.pixel_shuffle(self.head(detail), DETAIL_PX)

    def _mixture(self, detail: Tensor) -> Mixture:
        values = F.pixel_shuffle(self.mixture_head(detail), DETAIL_PX)
        weight, location, scale = values.float().chunk(3, dim=1)
        # Apart from the start: components that are alike get the same gradients for ever.
        spread = torch.linspace(-0.25, 0.25, MIXTURE_COMPONENTS, device=location.device)
        scale = MIN_SCALE + (MAX_SCALE - MIN_SCALE) * torch.sigmoid(scale - 2)
        return Mixture(weight.log_softmax(1), location + spread[:, None, None], scale)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's (B, DECODER_WIDTH, h/16, w/16), and (B, DETAIL_WIDTH, h/4, w/4)."""
        # Channels last: the layout that convolutions on a CPU and on tensor cores work in.
        image = lite_normalize(image).to(self.head.weight.dtype, memory_format=torch.channels_last)
        pyramid = self.encoder(image)
        x = self.place(position_channels(pyramid[-1]))
        levels: list[Tensor] = []
        for features, lateral, blocks in zip(
            reversed(pyramid), reversed(self.laterals), reversed(self.levels), strict=True
        ):
            # The coarsest sides were rounded up where 1/16 is odd, hence by size and not by 2.
            x = F.interpolate(x, features.shape[-2:], mode="nearest") + lateral(features)
            x = blocks(x)
            levels.append(x)
        return levels[1], F.gelu(self.detail(x))


def most_probable(mixture: Mixture) -> Tensor:
    """The location of each pixel's most probable component: (B, 1, h, w)."""
    best = mixture.log_weight.argmax(1, keepdim=True)
    return mixture.location.gather(1, best)


def lite_normalize(image: Tensor) -> Tensor:
    """[0, 1] to what EfficientNet-Lite's weights were trained on, -127/128 to 1."""
    return (255 * image - 127) / 128


def position_channels(x: Tensor) -> Tensor:
    """Each pixel's place in the image: the floor is at the bottom.

    Returns:
        (B, 2, h, w) for (B, C, h, w): column and row, -1 to 1 from border to border.
    """
    rows, cols = (
        torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(rows, cols, indexing="ij")[::-1])
    return grid.expand(len(x), -1, -1, -1)


class _Norm(nn.GroupNorm):
    """One group: statistics of each image alone, so that a batch and its images agree."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class _DecoderBlock(nn.Module):
    """Each channel filtered by itself, then mixed in twice the width, beside the identity."""

    def __init__(self) -> None:
        super().__init__()
        width, side = DECODER_WIDTH, BLOCK_KERNEL_PX
        self.depthwise = nn.Conv2d(width, width, side, padding=side // 2, groups=width)
        self.norm = _Norm(width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))
