from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppd_core.training.frames import RankShare, cache_shards


def number_of(frame: tuple[np.ndarray, np.ndarray]) -> int:
    return int(frame[0][0, 0, 0])


def test_cache_has_every_frame_in_order(shards: Path) -> None:
    frames = cache_shards(str(shards))
    assert [number_of(frame) for frame in frames] == list(range(20))
    assert frames[0][0].dtype == np.uint8 and frames[0][1].dtype == np.float16


def test_cached_depth_is_within_half_a_thousandth(shards: Path) -> None:
    from ppd_core.data.shards import iterate_shards

    exact = {sample.key: sample.depth for sample in iterate_shards(str(shards), seed=0, epoch=0)}
    for number, (_, depth) in enumerate(cache_shards(str(shards))):
        np.testing.assert_allclose(depth, exact[f"{number:09d}-00"], rtol=5e-4)


def test_max_frames_stops(shards: Path) -> None:
    frames = cache_shards(str(shards), max_frames=7)
    assert [number_of(frame) for frame in frames] == list(range(7))


def test_size_shrinks_without_new_depths(shards: Path) -> None:
    (small_image, small), *_ = cache_shards(str(shards), size=(16, 16), max_frames=1)
    (_, full), *_ = cache_shards(str(shards), max_frames=1)
    assert small_image.shape == (16, 16, 3) and small.shape == (16, 16)
    assert np.isin(small, full).all()


def test_processes_share_the_frames(shards: Path) -> None:
    shares = [cache_shards(str(shards), rank=rank, world=2) for rank in range(2)]
    numbers = [number_of(frame) for share in shares for frame in share]
    assert sorted(numbers) == list(range(20))


def test_more_processes_than_shards_are_refused(shards: Path) -> None:
    with pytest.raises(ValueError, match="5 processes need as many shards, got 4"):
        cache_shards(str(shards), world=5)


def test_rank_share_covers_all() -> None:
    frames = [(np.full((1, 1, 3), n, np.uint8), np.ones((1, 1))) for n in range(10)]
    shares = [RankShare(frames, rank, 3) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 3, 3]
    numbers = [number_of(share[i]) for share in shares for i in range(len(share))]
    assert sorted(numbers) == list(range(10))
