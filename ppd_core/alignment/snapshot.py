"""What an aligner remembers as plain JSON values, and back, to the last bit.

Python's JSON gives a float back as it was; what JSON does not know, NaN and infinities, is text.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.types import Alignment

_FLOATS = {field.name for field in fields(Alignment) if field.type == "float"}


def alignment_to_json(alignment: Alignment | None) -> dict[str, Any] | None:
    """Name -> value; None for None."""
    if alignment is None:
        return None
    values = asdict(alignment)
    return {
        name: str(value) if name in _FLOATS and not math.isfinite(value) else value
        for name, value in values.items()
    }


def alignment_from_json(values: Mapping[str, Any] | None) -> Alignment | None:
    """The inverse of `alignment_to_json`.

    Raises:
        ValueError: the values make no alignment.
    """
    if values is None:
        return None
    known: dict[str, Any] = dict(values)
    try:
        known |= {name: float(known[name]) for name in _FLOATS & known.keys()}
        return Alignment(**known)
    except TypeError as error:
        raise ValueError(f"no alignment can be made of {sorted(values)}: {error}") from error


def tensor_to_json(tensor: Tensor) -> str:
    """The bytes of (N,) float32, little endian, in base64."""
    return base64.b64encode(tensor.cpu().numpy().astype("<f4").tobytes()).decode("ascii")


def tensor_from_json(text: str) -> Tensor:
    """The inverse of `tensor_to_json`, on the CPU.

    Raises:
        ValueError: the text is no such tensor.
    """
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    return torch.from_numpy(values.astype(np.float32))
