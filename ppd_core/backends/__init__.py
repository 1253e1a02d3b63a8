"""The ways in which a pipeline's networks are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.fallback import FallbackBackend
from ppd_core.backends.graph import GraphBackend
from ppd_core.backends.protocol import Backend
from ppd_core.networks import Networks

BACKENDS: Mapping[str, Callable[[Networks], Backend]] = {
    "eager": EagerBackend,
    "graph": GraphBackend,
}
"""Name, of `config.BACKEND_NAMES` -> what is built of the networks."""


def resolve_backend(name: str | None, device: torch.device) -> str:
    """The backend asked for; None is "graph" on CUDA, and on the CPU, where it would have to
    compile for a minute first, "eager".

    Raises:
        ValueError: not one of `BACKENDS`.
    """
    if name is None:
        return "graph" if device.type == "cuda" else "eager"
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


def build_backend(networks: Networks, name: str | None = None) -> Backend:
    """Make ready to run networks that have their weights.

    Args:
        name: of `BACKENDS`; None is the default, and the plain path where that fails.

    Raises:
        ValueError: as `resolve_backend`, or it cannot run here.
    """
    resolved = resolve_backend(name, networks.device)
    if name is None and resolved == "graph":
        return FallbackBackend(networks)
    return BACKENDS[resolved](networks)
