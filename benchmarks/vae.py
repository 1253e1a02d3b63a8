"""A small convolutional VAE of depth fields: the rival that latent diffusion depth must pass.

Eight times smaller sides and four channels, as Stable Diffusion's. The paper sends truth through
that one, trained on photos; this one is trained on the very fields that it is measured with, so
what it loses is what a latent of that size loses at best at this budget.

Source: the VAE of latent diffusion, arXiv 2112.10752; PPD's figure of truth after a VAE.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ppd_core import weights
from ppd_core.training.batches import BatchMaker, batch_loader
from ppd_core.training.config import TrainConfig
from ppd_core.training.objectives import masked_l1, valid_pixels
from ppd_core.training.targets import depth_target

LATENT_CHANNELS = 4
WIDTHS = (32, 64, 96, 128)
"""Channels at 1/1, 1/2, 1/4 and 1/8 of the field's sides."""
KL_WEIGHT = 1e-6
"""As in latent diffusion: enough to keep the latent bounded."""
MAX_LOG_VARIANCE = 20.0
LR = 5e-4


class FieldVae(nn.Module):
    """Field (B, 1, h, w) -> latent (B, 4, h/8, w/8) -> field; sides multiples of 8."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        down: list[nn.Module] = [nn.Conv2d(1, first, 3, padding=1), _Residual(first)]
        up: list[nn.Module] = [nn.Conv2d(first, 1, 3, padding=1), _Residual(first)]  # from its end
        for narrow, wide in pairwise(widths):
            down += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), _Residual(wide)]
            up += [nn.Conv2d(wide, narrow, 3, padding=1), nn.Upsample(scale_factor=2)]
            up += [_Residual(wide)]
        self.encoder = nn.Sequential(*down, nn.Conv2d(last, 2 * LATENT_CHANNELS, 1))
        self.decoder = nn.Sequential(nn.Conv2d(LATENT_CHANNELS, last, 3, padding=1), *up[::-1])

    def encode(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, each (B, 4, h/8, w/8)."""
        mean, log_variance = self.encoder(field).chunk(2, dim=1)
        return mean, log_variance.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def forward(self, field: Tensor) -> Tensor:
        """The round trip through the latent's mean."""
        return self.decoder(self.encode(field)[0])

    def loss(self, field: Tensor, valid_mask: Tensor, generator: torch.Generator) -> Tensor:
        """L1 over valid pixels of the round trip through a drawn latent, and the KL term."""
        mean, log_variance = self.encode(field)
        draw = torch.randn(mean.shape, generator=generator, device=generator.device)
        decoded = self.decoder(mean + draw * (log_variance / 2).exp())
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(field)
        return masked_l1(decoded, field, valid_mask) + KL_WEIGHT * kl


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


def train_vae(config: TrainConfig, device: torch.device, path: Path, note: str) -> None:
    """Train on the batches that a run of this config is trained on, one step each, and save.

    Args:
        config: for its data, seed and steps; nothing else of it is used.
        device: where to compute.
        path: .safetensors file.
        note: kept in the file's metadata, see `read_note`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        vae = FieldVae().to(device)
    generator = torch.Generator(device).manual_seed(config.seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LR, weight_decay=0.0)
    steps = config.steps * config.optimizer.accumulation
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = batch_loader(BatchMaker(config, 0, 1), 0, steps, pin_memory=False)
    for batch in tqdm(batches, total=steps, desc="vae", unit="step"):
        depth = batch["samples"]["depth"].to(device)
        valid_mask = valid_pixels(depth)
        loss = vae.loss(depth_target(depth, valid_mask), valid_mask, generator)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    weights.save_checkpoint(path, vae.state_dict(), {"note": note})


def load_vae(path: Path, device: torch.device) -> FieldVae:
    """The VAE that `train_vae` saved."""
    vae = FieldVae().to(device).eval().requires_grad_(False)
    weights.load_strict(vae, weights.read_checkpoint(path)[0])
    return vae


def read_note(path: Path) -> str:
    """The note that it was saved with."""
    return weights.read_checkpoint(path)[1]["note"]
