"""EfficientNet-Lite0 as a pyramid of features: convolutions and ReLU6, no normalisation.

A batch norm whose statistics are kept is one factor and one offset a channel, so it is part of the
convolution before it: `training.imagenet` brings the published weights into that form.

Source: EfficientNet, arXiv 1905.11946; its Lite variants have ReLU6, and no
squeeze-and-excitation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

STEM_WIDTH = 32


class Stage(NamedTuple):
    """Blocks of one width; the first one's stride shrinks the image."""

    blocks: int
    kernel_px: int
    stride: int
    width: int
    expansion: int = 6


STAGES = (
    Stage(1, 3, 1, 16, expansion=1),
    Stage(2, 3, 2, 24),
    Stage(2, 5, 2, 40),
    Stage(3, 3, 2, 80),
    Stage(3, 5, 1, 112),
    Stage(4, 5, 2, 192),
    Stage(1, 3, 1, 320),
)
PYRAMID_STAGES = (1, 2, 4, 6)
"""The last stages at 1/4, 1/8, 1/16 and 1/32 of the image's sides."""
PYRAMID_WIDTHS = tuple(STAGES[index].width for index in PYRAMID_STAGES)


class EfficientNetLite0(nn.Module):
    """The network up to its last stage, without the classifier and what leads to it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(3, STEM_WIDTH, 3, 2)
        stages, width = [], STEM_WIDTH
        for stage in STAGES:
            widths = (width, *[stage.width] * (stage.blocks - 1))
            strides = (stage.stride, *[1] * (stage.blocks - 1))
            blocks = (_Block(w, stage, s) for w, s in zip(widths, strides, strict=True))
            stages.append(nn.Sequential(*blocks))
            width = stage.width
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features from fine to coarse.

        Args:
            image: (B, 3, h, w), about -1 to 1.

        Returns:
            (B, C, h / s, w / s), sides rounded up, for C of PYRAMID_WIDTHS and s = 4, 8, 16, 32.
        """
        x = F.relu6(self.stem(image))
        pyramid = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in PYRAMID_STAGES:
                pyramid.append(x)
        return pyramid


class _SameConv(nn.Conv2d):
    """Padded as TensorFlow's "SAME": with a stride of 2, an even side gets more at its end."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_px: int, stride: int, groups: int = 1
    ) -> None:
        padding = kernel_px // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_px, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        (kernel_px, _), (stride, _) = self.kernel_size, self.stride
        if stride == 1:
            return super().forward(x)
        padding: list[int] = []
        for side in reversed(x.shape[-2:]):  # F.pad begins with the last axis
            total = kernel_px - 1 - (side - 1) % stride
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class _Block(nn.Module):
    """Widen, filter each channel by itself, project; beside the identity where that fits."""

    def __init__(self, in_width: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = in_width * stage.expansion
        self.expand = nn.Conv2d(in_width, hidden, 1) if stage.expansion > 1 else None
        self.depthwise = _SameConv(hidden, hidden, stage.kernel_px, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, stage.width, 1)
        self.is_residual = stride == 1 and in_width == stage.width

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.is_residual else y
