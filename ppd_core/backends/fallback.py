"""The default where compiling is worth a wait: `graph` for as long as it works, else `eager`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.graph import GraphBackend
from ppd_core.backends.protocol import Backend
from ppd_core.device import StageClock, is_out_of_memory
from ppd_core.networks import Estimate, Networks

FALLBACK = "fallback"
"""The fact that tells why something else runs than the default; see `Backend.facts`."""
_log = logging.getLogger(__name__)


class FallbackBackend:
    """Compilers, kernels and CUDA graphs fail in ways of their own on machines that nobody tried:
    none of them may cost a robot its depth.

    What fails for lack of memory is raised: less work at a time is the remedy there, and the plain
    path needs no less.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._facts: Mapping[str, str] | None = None
        self._backend: Backend
        try:
            self._backend = GraphBackend(networks)
        except Exception as error:
            self._fall_back(error)
        self.name = self._backend.name

    @property
    def facts(self) -> Mapping[str, str]:
        """Those of what runs, and why it is not the first choice."""
        return self._backend.facts if self._facts is None else self._facts

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`."""
        if self._facts is None:
            started = clock.seconds.copy()
            try:
                return self._backend.estimate(images, processing_area, x_t, timesteps, clock)
            except Exception as error:
                self._fall_back(error)
                clock.seconds = started  # Nothing of what failed is the frame's.
        return self._backend.estimate(images, processing_area, x_t, timesteps, clock)

    def _fall_back(self, error: Exception) -> None:
        if is_out_of_memory(error):
            raise error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
        text = f"backend eager runs in place of graph, which failed: {reason}"
        _log.warning("%s", text)
        self._backend = EagerBackend(self._networks)
        self.name = self._backend.name
        self._facts = {FALLBACK: text}
