"""What the others are compared with: the networks as the published code runs them.

Float32 weights under `torch.autocast`, every operation one after the other, and nothing kept
between steps or frames but the tables of the rotary embedding: time embedding and modulation are
computed in each step, the prompt is normalised in each step, and positions are copied in each
step; each attention asks the device twice for the largest position, and waits for the answer,
before it gathers its angles. Each step looks its time up on the device, and waits twice, too.

Written anew after https://github.com/gangweix/pixel-perfect-depth (Apache-2.0), for networks of
this package. Not alike: the prompt's attention is `scaled_dot_product_attention` always (there
xformers' where it is installed, else plain products), and a model that predicts x_0 is taken, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.config import FINE_PATCH_PX
from ppd_core.device import StageClock
from ppd_core.flow import T
from ppd_core.models.layers import (
    ROPE_BASE,
    TIME_SINUSOIDS,
    Attention,
    DitBlock,
    TimestepEmbedder,
    modulate,
)
from ppd_core.models.sp_dit import SpDit, split_tokens, tokens_to_image, upsample_tokens
from ppd_core.networks import Estimate, Networks
from ppd_core.preprocess import model_images


def published_dtype() -> torch.dtype:
    """What the published code computes in: bfloat16 where CUDA has it, else float16, on a CPU,
    too."""
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


class EagerAutocastBackend:
    """A backend in its form; not one of `BACKENDS`, for nobody should use it.

    Args:
        networks: with float32 weights, nobody else's: SP-DiT's are made to require gradients.
        dtype: of autocast; float32 is without it.
    """

    name = "eager-autocast"
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, networks: Networks, dtype: torch.dtype) -> None:
        if networks.dtype != torch.float32:
            raise ValueError(f"autocast needs float32 weights, got {networks.dtype}")
        # Autocast casts a weight once a frame, and not at each use, only where a gradient could be
        # wanted. The published code leaves that so for SP-DiT, and not for the prompt.
        networks.dit.requires_grad_(True)
        self._networks = networks
        self._dtype = dtype
        self._network = _Network(networks.dit)

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`."""
        device = self._networks.device
        with clock.stage("preprocess"):
            model = model_images(images, processing_area, device, torch.float32)
        is_cast = self._dtype != torch.float32
        with torch.autocast(device.type, self._dtype if is_cast else None, enabled=is_cast):
            with clock.stage("prompt"):
                semantics, features = self._networks.encode(model)
            with clock.stage("sample"):
                depth = self._sample(model - 0.5, semantics, x_t, timesteps)
        return Estimate(depth, features)

    def _sample(
        self, condition: Tensor, semantics: Tensor | None, x_t: Tensor, timesteps: Sequence[int]
    ) -> Tensor:
        times = torch.tensor(timesteps, device=x_t.device, dtype=torch.int32)
        is_x_0 = self._networks.config.model.prediction == "x0"
        for t in times:
            output = self._network(torch.cat([x_t, condition], dim=1), semantics, t[None])
            share = t / T
            velocity = (x_t - output) * T / t.clamp(min=1) if is_x_0 else output
            x_0, noise = x_t - share * velocity, x_t + (1 - share) * velocity
            next_share = _next_time(times, t) / T
            x_t = torch.where(next_share >= 0, (1 - next_share) * x_0 + next_share * noise, x_0)
        return x_t + 0.5


def _next_time(times: Tensor, t: Tensor) -> Tensor:
    """The time after t, -1 after the last."""
    index = (times == t).nonzero()[0, 0] + 1  # how many there are is asked of the device
    return torch.where(index < len(times), times[index.clamp(max=len(times) - 1)], -1)


class _Network:
    """SP-DiT on its own weights, with what the published one keeps between calls."""

    def __init__(self, dit: SpDit) -> None:
        self._dit = dit
        self._grids: dict[tuple[int, int], Tensor] = {}
        self._tables: dict[tuple[int, int, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, semantics: Tensor | None, timestep: Tensor) -> Tensor:
        """(B, 4, H, W), the prompt and (1,) -> (B, 1, H, W)."""
        dit = self._dit
        rows, cols = (side // dit.patch_px for side in x.shape[-2:])
        fine = tuple(side // FINE_PATCH_PX for side in x.shape[-2:])
        positions, fine_positions = self._positions(x, rows, cols), self._positions(x, *fine)
        tokens = dit.x_embedder(x)
        time = _embedded(dit.t_embedder, timestep)
        middle = len(dit.blocks) // 2
        for index, block in enumerate(dit.blocks):
            if index == middle:
                tokens = _fused(dit, tokens, semantics, rows, cols)
                if dit.config.has_cascade and dit.config.has_fine_input:
                    tokens = tokens + dit.fine_embedder(x)
            own = positions if index < middle else fine_positions
            tokens = self._block(cast(DitBlock, block), tokens, time, own)
        final = dit.final_layer
        shift, scale = final.adaLN_modulation(time).chunk(2, dim=1)
        tokens = modulate(final.norm_final(tokens), shift, scale)
        return tokens_to_image(final.linear(tokens), *fine)

    def _positions(self, x: Tensor, rows: int, cols: int) -> Tensor:
        """(B, rows * cols, 2), the row and the column of each token, a copy for each call."""
        if (rows, cols) not in self._grids:
            sides = (torch.arange(side, device=x.device) for side in (rows, cols))
            self._grids[rows, cols] = torch.cartesian_prod(*sides)
        return self._grids[rows, cols].expand(len(x), -1, -1).clone()

    def _block(self, block: DitBlock, tokens: Tensor, time: Tensor, positions: Tensor) -> Tensor:
        modulation = block.adaLN_modulation(time).chunk(6, dim=1)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation
        attended = self._attention(
            block.attn, modulate(block.norm1(tokens), shift_1, scale_1), positions
        )
        tokens = tokens + gate_1[:, None] * attended
        return tokens + gate_2[:, None] * block.mlp(
            modulate(block.norm2(tokens), shift_2, scale_2)
        )

    def _attention(self, attention: Attention, x: Tensor, positions: Tensor) -> Tensor:
        heads = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        q = self._rotated(attention.q_norm(q), positions)
        k = self._rotated(attention.k_norm(k), positions)
        x = F.scaled_dot_product_attention(q, k, v)
        return attention.proj(x.transpose(1, 2).flatten(2))

    def _rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """The first half of each head's channels turned by the row, the second by the column."""
        length = int(positions.max()) + 1
        cos, sin = self._table(x, length)
        turned = []
        for axis, half in enumerate(x.chunk(2, dim=-1)):
            own_cos = F.embedding(positions[..., axis], cos)[:, None]
            own_sin = F.embedding(positions[..., axis], sin)[:, None]
            first, second = half.chunk(2, dim=-1)
            turned.append(half * own_cos + torch.cat([-second, first], dim=-1) * own_sin)
        return torch.cat(turned, dim=-1)

    def _table(self, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `length` positions along one axis."""
        dim = x.shape[-1] // 2
        key = (dim, length, x.dtype)
        if key not in self._tables:
            exponents = torch.arange(0, dim, 2, device=x.device).float() / dim
            places = torch.arange(length, device=x.device, dtype=torch.float32)
            angles = (places[:, None] / ROPE_BASE**exponents).to(x.dtype).repeat(1, 2)
            self._tables[key] = angles.cos(), angles.sin()
        return self._tables[key]


def _embedded(embedder: TimestepEmbedder, timestep: Tensor) -> Tensor:
    """`TimestepEmbedder`, the frequencies brought from the CPU each time."""
    half = TIME_SINUSOIDS // 2
    steps = torch.arange(half, dtype=torch.float32, device="cpu")
    frequencies = torch.exp(-math.log(10_000) * steps / half).to(timestep.device)
    angles = timestep[:, None].float() * frequencies
    return embedder.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))


def _fused(dit: SpDit, tokens: Tensor, semantics: Tensor | None, rows: int, cols: int) -> Tensor:
    if semantics is not None:
        semantics = F.normalize(semantics, dim=-1)
        if not dit.config.has_cascade:
            semantics = upsample_tokens(semantics, rows // 2, cols // 2)
        tokens = torch.cat([tokens, semantics], dim=-1)
    if dit.config.has_cascade:
        return split_tokens(dit.proj_fusion(tokens), rows, cols)
    return tokens if semantics is None else dit.proj_fusion(tokens)
