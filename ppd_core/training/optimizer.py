"""AdamW's parameter groups, the learning rate over the steps, and the average of weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from ppd_core.training.config import OptimizerConfig


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over a module's parameters, with the groups that the config tells apart.

    Each group keeps under "lr_scale" what its rate is multiplied with.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        scales = (s for prefix, s in config.lr_scales.items() if name.startswith(prefix))
        scale = next(scales, 1.0)
        groups.setdefault((decay, scale), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "lr_scale": scale}
            for (decay, scale), parameters in groups.items()
        ],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of step `step` of `steps`, counted from 0.

    Linear up to `lr` over the warm-up, then constant; and down half a cosine to the floor, at the
    end or all the way.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    start = config.warmup_steps
    if config.schedule == "constant":
        start = max(start, steps - config.decay_steps)
    progress = min(1.0, max(0, step - start) / max(1, steps - start))
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr * (config.floor + (1 - config.floor) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def averaged_copy(module: nn.Module) -> nn.Module:
    """A copy in float32 that the average of weights is kept in."""
    return copy.deepcopy(module).float().eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    """`average <- d average + (1 - d) module` with `d = min(decay, (1 + step) / (10 + step))`."""
    decay = min(decay, (1 + step) / (10 + step))
    # One call for all: there are hundreds of small tensors. torch's own averaging does it so.
    torch._foreach_lerp_(
        list(average.parameters()), [p.data for p in module.parameters()], 1 - decay
    )
    for old, new in zip(average.buffers(), module.buffers(), strict=True):
        old.copy_(new)
