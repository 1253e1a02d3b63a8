"""The ways in which a pipeline's networks are run."""

from __future__ import annotations

from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.protocol import Backend
from ppd_core.networks import Networks

BACKENDS = {
    "eager": EagerBackend,
}
"""Name -> what is built of the networks."""


def resolve_backend(name: str | None) -> str:
    """The backend asked for; None is the plain path.

    Raises:
        ValueError: not one of `BACKENDS`.
    """
    if name is None:
        return "eager"
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


def build_backend(networks: Networks, name: str | None = None) -> Backend:
    """Make ready to run networks that have their weights.

    Raises:
        ValueError: as `resolve_backend`, or it cannot run here.
    """
    return BACKENDS[resolve_backend(name)](networks)
