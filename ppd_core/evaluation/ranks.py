"""Which part of the work is this process's, where several were started for one evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the evaluation.

    Nothing is sent between them: each writes its own file of records, and the first one reads
    them all. So no process group is set up, whatever started them.

    Args:
        rank, world: which of how many.
        local_rank: the same on this machine.

    Raises:
        ValueError: no such process.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world and 0 <= self.local_rank < self.world):
            raise ValueError(
                "rank and local rank must be in [0, world), got rank "
                f"{self.rank}, local rank {self.local_rank} of {self.world}"
            )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Ranks:
        """Read WORLD_SIZE, RANK and LOCAL_RANK, which `accelerate launch` and `torchrun` set.

        Raises:
            ValueError: they are not such numbers.
        """
        environ = os.environ if environ is None else environ
        try:
            world, rank = int(environ.get("WORLD_SIZE", "1")), int(environ.get("RANK", "0"))
            local_rank = int(environ.get("LOCAL_RANK", rank))
        except ValueError as error:
            raise ValueError(f"WORLD_SIZE and RANK must be whole numbers: {error}") from error
        return cls(rank, world, local_rank)

    @property
    def is_main(self) -> bool:
        """Whether this one merges, tells and draws."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world`-th item, from `rank` on."""
        return items[self.rank :: self.world]

    def device_name(self, device: str | None) -> str | None:
        """A GPU of its own for each process, where the user said none, or "cuda"."""
        if self.world == 1 or device not in (None, "cuda"):
            return device
        import torch

        if not torch.cuda.is_available():
            return device
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"
