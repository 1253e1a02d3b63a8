"""Frames by number: a cache in memory, or a data set on disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ppd_core.data.shards import DepthSample, iterate_shards, list_shards
from ppd_core.training.augment import crop, largest_box, resize_depth, resize_image
from ppd_core.training.data_config import SourceConfig

Frame = tuple[np.ndarray, np.ndarray]
"""Image (H, W, 3) uint8 and depth (H, W) float16 or float32, metres, NaN and inf as in shards."""

_DECODING_THREADS = 4


class FrameSet(Protocol):
    """Frames that can be had by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...


def frame_of(sample: DepthSample, size: tuple[int, int] | None) -> Frame:
    """Image and depth of a sample; with a size, of its largest centred part of that aspect."""
    if size is None:
        return sample.image, sample.depth
    box = largest_box(sample.image.shape[:2], size)
    return resize_image(crop(sample.image, box), size), resize_depth(crop(sample.depth, box), size)


def cache_shards(
    source: str,
    *,
    size: tuple[int, int] | None = None,
    max_frames: int | None = None,
    rank: int = 0,
    world: int = 1,
) -> list[Frame]:
    """Decode this process's shards into memory, depth as float16 (0.05 % apart).

    Args:
        source: as in `list_shards`.
        size: (h, w) that frames are brought to; None = their own.
        max_frames: stop after these.
        rank, world: take every `world`-th shard.

    Raises:
        ValueError: fewer shards than processes, or a broken shard; the message names it.
    """
    # Before the threads do: its modules import each other, and two threads at it meet half of one.
    import webdataset  # noqa: F401

    shards = list_shards(source)
    if len(shards) < world:
        raise ValueError(f"{world} processes need as many shards, got {len(shards)} in {source}")

    def decode(shard: str) -> list[Frame]:
        # Every frame its own array: one big one would be held twice while it is put together.
        samples = iterate_shards([shard], seed=0, epoch=0)
        return [_compact(frame_of(sample, size)) for sample in samples]

    frames: list[Frame] = []
    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        progress = tqdm(desc=f"cache {source}", unit="frame", disable=None if rank == 0 else True)
        with progress:
            for decoded in _in_order(pool, decode, shards[rank::world]):
                frames += decoded
                progress.update(len(decoded))
                if max_frames is not None and len(frames) >= max_frames:
                    return frames[:max_frames]
    return frames


def _in_order(
    pool: ThreadPoolExecutor, decode: Callable[[str], list[Frame]], shards: Sequence[str]
) -> Iterator[list[Frame]]:
    """`pool.map`, but no further ahead than its threads: `max_frames` may need few shards."""
    waiting = iter(shards)
    running = [pool.submit(decode, one) for one in itertools.islice(waiting, _DECODING_THREADS)]
    while running:
        yield running.pop(0).result()
        running += [pool.submit(decode, one) for one in itertools.islice(waiting, 1)]


def _compact(frame: Frame) -> Frame:
    image, depth = frame
    with np.errstate(over="ignore"):  # Past 65 km it becomes inf, "nothing there".
        return np.ascontiguousarray(image), depth.astype(np.float16)


class RankShare:
    """Every `world`-th frame of a set, for one process."""

    def __init__(self, frames: FrameSet, rank: int, world: int) -> None:
        if len(frames) < world:
            raise ValueError(f"{world} processes need as many frames, got {len(frames)}")
        self.frames, self.rank, self.world = frames, rank, world

    def __len__(self) -> int:
        return (len(self.frames) - self.rank + self.world - 1) // self.world

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index * self.world + self.rank]


class DiskFrames:
    """The frames of a published data set, read when they are asked for."""

    def __init__(self, source: SourceConfig) -> None:
        from ppd_core.data.datasets import open_dataset

        assert source.dataset is not None and source.root is not None
        self.samples = open_dataset(source.dataset, source.root, source.split)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Frame:
        return frame_of(self.samples[index], None)
