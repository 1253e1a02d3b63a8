"""The networks. They hold weights and nothing else: no file is read in here."""

from __future__ import annotations

from torch import nn

from ppd_core.config import PipelineConfig
from ppd_core.models.semantics import build_encoder
from ppd_core.models.sp_dit import SpDit


def build_models(config: PipelineConfig) -> nn.ModuleDict:
    """SP-DiT under "dit" and, if the config has a prompt, its encoder under "semantics".

    Built on the current default device: under `torch.device("meta")` nothing is allocated.
    """
    models = nn.ModuleDict({"dit": SpDit(config.model)})
    if config.model.has_semantics:
        models["semantics"] = build_encoder(config.prompt)
    return models.eval().requires_grad_(False)
