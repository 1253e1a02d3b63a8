"""What one frame costs at least, as a closed form of its config: arithmetic and bytes.

Counted are the layers that do nearly all of the arithmetic: linear layers, convolutions and the
two products of attention; a multiplication and an addition are two FLOP, as
`torch.utils.flop_counter` has it. Norms, activations, rotations, biases and resizing count
nothing, and so does what depends on times alone (`schedule_cost`), which is kept between frames.
Bytes: every layer reads its weights and its inputs once and writes its outputs once; that a
neighbour could keep them on the chip, and that softmax or norms may need them again, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from ppd_core.config import (
    COARSE_PATCH_PX,
    FINE_PATCH_PX,
    PROMPT_WIDTH,
    PipelineConfig,
    PromptConfig,
    SpDitConfig,
)
from ppd_core.models import efficientnet, efficientnet_prompt
from ppd_core.models.layers import TIME_SINUSOIDS
from ppd_core.models.sp_dit import IN_CHANNELS
from ppd_core.models.vit import PATCH_PX

VIT_DEPTH = {"s": 12, "b": 12, "l": 24}
"""Size of a DINOv2 backbone -> its blocks."""
VIT_MLP_RATIO = 4
MOGE2_LAYERS = 4
"""Layers of the backbone that MoGe-2 projects and sums."""


@dataclass(frozen=True)
class Cost:
    """What some layers need.

    Attributes:
        flop: floating-point operations.
        weights: numbers that are read whatever the batch.
        activations: numbers that are read and written.
    """

    flop: int = 0
    weights: int = 0
    activations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flop + other.flop,
            self.weights + other.weights,
            self.activations + other.activations,
        )

    def __mul__(self, count: int) -> Cost:
        return Cost(self.flop * count, self.weights * count, self.activations * count)

    def of_batch(self, batch: int) -> Cost:
        """That of several images together: weights are read once."""
        return Cost(self.flop * batch, self.weights, self.activations * batch)

    def bytes_moved(self, bytes_per_number: int) -> int:
        """Between memory and chip, every number of one size."""
        return (self.weights + self.activations) * bytes_per_number


def linear(tokens: int, in_dim: int, out_dim: int) -> Cost:
    """A linear layer with bias on (tokens, in_dim)."""
    return Cost(
        2 * tokens * in_dim * out_dim, in_dim * out_dim + out_dim, tokens * (in_dim + out_dim)
    )


def attention(tokens: int, dim: int) -> Cost:
    """`softmax(q k^T) v` of all heads together: it reads three (tokens, dim), writes one."""
    return Cost(4 * tokens**2 * dim, 0, 4 * tokens * dim)


def convolution(
    out_pixels: int, in_channels: int, out_channels: int, side: int, stride: int = 1
) -> Cost:
    """A square convolution with bias, padded so that the stride alone shrinks the image."""
    numbers = side**2 * in_channels * out_channels
    read = out_pixels * stride**2 * in_channels
    return Cost(2 * out_pixels * numbers, numbers + out_channels, read + out_pixels * out_channels)


def depthwise(out_pixels: int, channels: int, side: int, stride: int = 1) -> Cost:
    """A square convolution of each channel by itself, with bias, padded as `convolution`."""
    numbers = side**2 * channels
    values = out_pixels * (stride**2 + 1) * channels
    return Cost(2 * out_pixels * numbers, numbers + channels, values)


def transformer_block(tokens: int, dim: int, hidden_dim: int) -> Cost:
    """Attention and MLP of one block, alike in SP-DiT, DINOv2 and nano's prompt."""
    return (
        linear(tokens, dim, 3 * dim)
        + attention(tokens, dim)
        + linear(tokens, dim, dim)
        + linear(tokens, dim, hidden_dim)
        + linear(tokens, hidden_dim, dim)
    )


def network_cost(config: SpDitConfig, height: int, width: int) -> Cost:
    """One evaluation of SP-DiT on one image of model size."""
    dim = config.hidden_size
    patch_px = COARSE_PATCH_PX if config.has_cascade else FINE_PATCH_PX
    first, fine = (height // side * (width // side) for side in (patch_px, FINE_PATCH_PX))
    hidden_dim, half = int(dim * config.mlp_ratio), config.depth // 2
    cost = convolution(first, IN_CHANNELS, dim, patch_px, patch_px)
    cost += transformer_block(first, dim, hidden_dim) * half
    if config.has_semantics or config.has_cascade:
        in_dim = dim + (config.semantics_dim if config.has_semantics else 0)
        out_dim = 4 * dim if config.has_cascade else dim
        cost += linear(first, in_dim, 4 * dim) + linear(first, 4 * dim, 4 * dim)
        cost += linear(first, 4 * dim, out_dim)
    if config.has_cascade and config.has_fine_input:
        cost += convolution(fine, IN_CHANNELS, dim, FINE_PATCH_PX, FINE_PATCH_PX)
    cost += transformer_block(fine, dim, hidden_dim) * half
    return cost + linear(fine, dim, FINE_PATCH_PX**2)


def prompt_cost(config: PromptConfig, height: int, width: int) -> Cost:
    """The prompt encoder on one image of model size; for MoGe-2 without the heads for metres."""
    rows, cols = height // COARSE_PATCH_PX, width // COARSE_PATCH_PX
    if config.kind == "efficientnet":
        return _efficientnet_prompt_cost(rows, cols)
    dim, patches = PROMPT_WIDTH[config.size], rows * cols
    cost = convolution(patches, 3, dim, PATCH_PX, PATCH_PX)
    block = transformer_block(patches + 1, dim, VIT_MLP_RATIO * dim)  # and the class token
    cost += block * VIT_DEPTH[config.size]
    if config.kind == "moge2":
        cost += convolution(patches, dim, dim, 1) * MOGE2_LAYERS
    return cost


def frame_cost(
    config: PipelineConfig, height: int, width: int, num_steps: int, batch: int = 1
) -> Cost:
    """Prompt and all steps, of one frame or of a batch that goes through together."""
    cost = network_cost(config.model, height, width).of_batch(batch) * num_steps
    if config.model.has_semantics:
        cost += prompt_cost(config.prompt, height, width).of_batch(batch)
    return cost


def schedule_cost(config: SpDitConfig, num_steps: int) -> Cost:
    """What depends on the times alone: the time's embedding, and what each layer makes of it."""
    dim = config.hidden_size
    cost = linear(num_steps, TIME_SINUSOIDS, dim) + linear(num_steps, dim, dim)
    return cost + linear(num_steps, dim, 6 * dim) * config.depth + linear(num_steps, dim, 2 * dim)


def _efficientnet_prompt_cost(rows: int, cols: int) -> Cost:
    """See `EfficientNetPrompt`: its encoder's blocks, and at each of its sizes a lateral."""
    # By how often the sides are halved; the last time they are rounded up.
    pixels = [rows * cols * 4 ** (4 - halvings) for halvings in range(5)]
    pixels.append(-(-rows // 2) * -(-cols // 2))
    halvings, width = 1, efficientnet.STEM_WIDTH
    cost = convolution(pixels[1], 3, width, 3, stride=2)
    for stage in efficientnet.STAGES:
        for number in range(stage.blocks):
            stride = stage.stride if number == 0 else 1
            hidden = width * stage.expansion
            if stage.expansion > 1:
                cost += convolution(pixels[halvings], width, hidden, 1)
            halvings += stride - 1
            cost += depthwise(pixels[halvings], hidden, stage.kernel_px, stride)
            cost += convolution(pixels[halvings], hidden, stage.width, 1)
            width = stage.width
    dim = efficientnet_prompt.DECODER_WIDTH
    cost += convolution(pixels[5], 2, dim, 1) + convolution(
        pixels[2], dim, efficientnet_prompt.DETAIL_WIDTH, 1
    )
    levels = zip(efficientnet.PYRAMID_WIDTHS, efficientnet_prompt.DECODER_BLOCKS, strict=True)
    for halvings, (width, blocks) in enumerate(levels, start=2):
        at_level = pixels[halvings]
        block = depthwise(at_level, dim, efficientnet_prompt.BLOCK_KERNEL_PX)
        block += convolution(at_level, dim, 2 * dim, 1) + convolution(at_level, 2 * dim, dim, 1)
        cost += convolution(at_level, width, dim, 1) + block * blocks
    return cost
