"""How SP-DiT's weights start."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from ppd_core.models.layers import DitBlock
from ppd_core.models.sp_dit import SpDit

TIME_STD = 0.02


@torch.no_grad()
def init_sp_dit(dit: SpDit, gate: float = 0.0) -> None:
    """Draw the weights from torch's default generator.

    Linear layers Xavier-uniform, the patch embedding as if it were one, the timestep's MLP normal
    with deviation 0.02, biases 0. The last layer is 0, so the first output is 0 everywhere; so is
    the fine input, which weights from before it can then be trained on with.

    Args:
        gate: where the gates of the residuals start, whatever the time: 0 is adaLN-Zero, each
            block the identity; above 0 the blocks take part, and get gradients, from the start.

    Source: DiT, arXiv 2212.09748.
    """
    for module in dit.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for layer in dit.t_embedder.mlp:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=TIME_STD)
    for block in dit.blocks:
        _init_modulation(cast(DitBlock, block), gate)
    final = dit.final_layer
    zeros: list[nn.Module] = [final.adaLN_modulation[-1], final.linear]
    if dit.config.has_cascade and dit.config.has_fine_input:
        zeros.append(dit.fine_embedder.proj)
    for layer in cast(list[nn.Linear], zeros):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _init_modulation(block: DitBlock, gate: float) -> None:
    layer = cast(nn.Linear, block.adaLN_modulation[-1])
    nn.init.zeros_(layer.weight)
    shift_scale_gate = layer.bias.view(2, 3, -1)  # for attention, for the MLP
    shift_scale_gate.zero_()
    shift_scale_gate[:, 2] = gate
