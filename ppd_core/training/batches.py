"""Batches as a pure function of their number, so that a run resumes exactly.

What a batch holds depends on (seed, its number, the process's rank) and on nothing else: not on
how many workers prepare it, nor on where the run was interrupted. Only shards read as a stream
have a place that cannot be computed; it travels with each batch, and a checkpoint keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ppd_core.data.mixing import mixture_turn, permuted_index
from ppd_core.training.augment import augment
from ppd_core.training.config import SourceConfig, TrainConfig
from ppd_core.training.frames import DiskFrames, Frame, FrameSet, RankShare, cache_shards
from ppd_core.training.shard_stream import Place, ShardStream
from ppd_core.training.surfaces import surface_sample
from ppd_core.training.targets import MAX_DEPTH_M

MIN_VALID_SHARE = 0.01
"""Of the pixels, with depth to normalise by; frames with less are passed over."""
_MAX_TRIES = 100
_TIMEOUT_S = 900
_AUGMENT = 0
"""Third word of its seed, so that no two uses share their random numbers; noise has 1."""


class Batch(TypedDict):
    """What a training step works on.

    samples: of the flow and the regression "image" (B, h, w, 3) uint8 RGB and "depth" (B, 1, h, w)
    float32, metres, NaN = not known, +inf = nothing there; of the surfaces see
    `surfaces.surface_sample`. places: where each streamed source goes on after this batch.
    """

    samples: dict[str, Tensor]
    places: dict[int, Place]


class BatchMaker:
    """Makes the batches of one process.

    Args:
        config: of the run.
        rank, world: which of how many processes this is.
        places: where streamed sources go on; from the last batch before.
    """

    def __init__(
        self, config: TrainConfig, rank: int, world: int, places: dict[int, Place] | None = None
    ) -> None:
        self.config = config
        self.rank = rank
        data = config.data
        self.weights = tuple(one.weight for one in data.sources)
        self.sets: dict[int, FrameSet] = {}
        self.streams: dict[int, ShardStream] = {}
        for index, source in enumerate(data.sources):
            if source.dataset is None and not data.cache:
                assert source.urls is not None
                self.streams[index] = ShardStream(
                    source.urls,
                    seed=config.seed + index,
                    rank=rank,
                    world=world,
                    shuffle_buffer=data.shuffle_buffer,
                    place=(places or {}).get(index, (0, 0)),
                )
            else:
                self.sets[index] = _frame_set(source, config, rank, world)

    def make(self, index: int) -> Batch:
        """Batch `index` of this process; streamed sources must be asked in order."""
        phase = self.config.phase_at(index // self.config.optimizer.accumulation)
        assert phase.size is not None and phase.batch_size is not None
        first = samples_before(self.config, index)
        frames = [self._sample(first + one, phase.size) for one in range(phase.batch_size)]
        return {
            "samples": {name: torch.stack([one[name] for one in frames]) for name in frames[0]},
            "places": {index: stream.place for index, stream in self.streams.items()},
        }

    def _sample(self, number: int, size: tuple[int, int]) -> dict[str, Tensor]:
        seed = (self.config.seed, self.rank)
        source, turn = mixture_turn(self.weights, seed, number)
        rng = np.random.default_rng([*seed, _AUGMENT, number])
        for attempt in range(_MAX_TRIES):
            frame = self._frame(source, turn, attempt)
            if self.config.objective == "surfaces":
                sample = surface_sample(
                    *frame, size, self.config.data.augment, rng, model=self.config.preset
                )
                is_valid = sample["target"].isfinite()
            else:
                image, depth = augment(*frame, size, self.config.data.augment, rng)
                sample = {"image": torch.from_numpy(image), "depth": torch.from_numpy(depth[None])}
                is_valid = (sample["depth"] > 0) & (sample["depth"] < MAX_DEPTH_M)
            if is_valid.float().mean() >= MIN_VALID_SHARE:
                return sample
        name = self.config.data.sources[source]
        raise ValueError(
            f"{name.urls or name.dataset} must have depth between 0 and {MAX_DEPTH_M:g} m, got "
            f"{_MAX_TRIES} frames in a row without"
        )

    def _frame(self, source: int, turn: int, attempt: int) -> Frame:
        if source in self.streams:
            return next(self.streams[source])
        frames = self.sets[source]
        epoch, place = divmod(turn, len(frames))
        order = f"{self.config.seed} {self.rank} source {source} epoch {epoch}"
        index = permuted_index(place, len(frames), order)
        return frames[(index + attempt) % len(frames)]


def _frame_set(source: SourceConfig, config: TrainConfig, rank: int, world: int) -> FrameSet:
    if source.urls is None:
        return RankShare(DiskFrames(source), rank, world)
    data = config.data
    return cache_shards(
        source.urls, size=data.cache_size, max_frames=data.max_frames, rank=rank, world=world
    )


def samples_before(config: TrainConfig, index: int) -> int:
    """How many samples one process has had before its batch `index`."""
    count, first = 0, 0
    for phase in config.phases:
        end = phase.until_step * config.optimizer.accumulation
        batches = max(0, min(index, end) - first)
        count += batches * (phase.batch_size or config.data.batch_size)
        first = end
    return count + max(0, index - first) * config.data.batch_size


def _made(maker: BatchMaker, index: int) -> Batch | str:
    """The batch, or what went wrong: an exception would come out of a worker as a traceback."""
    try:
        return maker.make(index)
    except (ValueError, OSError) as error:
        return str(error)


class _ByNumber(Dataset[Batch | str]):
    def __init__(self, maker: BatchMaker, last: int) -> None:
        self.maker, self.last = maker, last

    def __len__(self) -> int:
        return self.last

    def __getitem__(self, index: int) -> Batch | str:
        return _made(self.maker, index)


class _InOrder(IterableDataset[Batch | str]):
    def __init__(self, maker: BatchMaker, first: int, last: int) -> None:
        self.maker, self.first, self.last = maker, first, last

    def __iter__(self) -> Iterator[Batch | str]:
        return (_made(self.maker, index) for index in range(self.first, self.last))


def batch_loader(
    maker: BatchMaker, first: int, last: int, pin_memory: bool
) -> DataLoader[Batch | str]:
    """Batches `first` to `last` - 1 in order, prepared ahead by the config's workers.

    In place of a batch that cannot be made comes the sentence that says why.
    A stream has one reader, so with streamed shards there is one worker at most.
    """
    workers = maker.config.data.num_workers
    dataset: Dataset[Batch | str] = _ByNumber(maker, last)
    sampler: range | None = range(first, last)
    if maker.streams:
        workers, sampler = min(workers, 1), None
        dataset = _InOrder(maker, first, last)
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        # A worker that cannot hand over its batch (no shared memory left) only prints so.
        timeout=_TIMEOUT_S if workers else 0,
    )


def _start_worker(_index: int) -> None:
    import signal

    # Ctrl-C and a stop of the whole process group are the trainer's to answer: it still needs
    # the batches of the step that it is in, and ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
