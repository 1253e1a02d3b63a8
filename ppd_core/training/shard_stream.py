"""Shards as one endless stream with a place that it can be taken up at."""

from __future__ import annotations

from collections.abc import Iterator

from ppd_core.data.shards import DepthSample, iterate_shards
from ppd_core.training.frames import Frame, frame_of

Place = tuple[int, int]
"""Epoch, and samples of it that are done."""


class ShardStream:
    """Epoch after epoch of one reader's share of the shards.

    Args:
        source: as in `list_shards`.
        seed, rank, world, shuffle_buffer: as in `iterate_shards`.
        place: where to start.
    """

    def __init__(
        self,
        source: str,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shuffle_buffer: int = 0,
        place: Place = (0, 0),
    ) -> None:
        self.source = source
        self.place = place
        self._order = {
            "seed": seed, "rank": rank, "world": world, "shuffle_buffer": shuffle_buffer
        }  # fmt: skip
        self._samples: Iterator[DepthSample] | None = None

    def __iter__(self) -> ShardStream:
        return self

    def __next__(self) -> Frame:
        epoch, done = self.place
        while True:
            if self._samples is None:
                self._samples = self._open(epoch, done)
            sample = next(self._samples, None)
            if sample is not None:
                self.place = epoch, done + 1
                return frame_of(sample, None)
            if done == 0:
                raise ValueError(f"the shards of {self.source} hold no sample")
            epoch, done, self._samples = epoch + 1, 0, None

    def _open(self, epoch: int, skip: int) -> Iterator[DepthSample]:
        return iterate_shards(self.source, epoch=epoch, skip=skip, **self._order)
