"""A digest of a model's weights: what tells figures of one training from those of another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

NO_WEIGHTS = "none"
_LENGTH = 16


def weights_digest(model: Any) -> str:
    """The SHA-256 of every weight that a model holds, by name, dtype, shape and value.

    Networks are looked for among the model's attributes, and in what these keep under `models` or
    `components`, as our pipelines and those of diffusers do.

    Returns:
        "sha256:" and 16 hexadecimal digits, or `NO_WEIGHTS`.
    """
    digest, is_empty = hashlib.sha256(), True
    for name, module in _networks(model):
        for key, tensor in sorted(module.state_dict().items()):
            if not isinstance(tensor, torch.Tensor):
                continue
            is_empty = False
            digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # As bytes: numpy knows no bfloat16.
            flat = tensor.detach().contiguous().cpu().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return NO_WEIGHTS if is_empty else f"sha256:{digest.hexdigest()[:_LENGTH]}"


def _networks(model: Any) -> Iterator[tuple[str, nn.Module]]:
    for name, value in sorted(getattr(model, "__dict__", {}).items()):
        if isinstance(value, nn.Module):
            yield name, value
            continue
        for part in ("models", "components"):
            kept = getattr(value, part, None)
            if isinstance(kept, nn.Module):
                yield f"{name}.{part}", kept
            elif isinstance(kept, Mapping):
                modules = ((key, one) for key, one in kept.items() if isinstance(one, nn.Module))
                yield from ((f"{name}.{part}.{key}", one) for key, one in sorted(modules))
