from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from ppd_core.data.shards import DepthSample, write_shard
from ppd_core.training.batches import BatchMaker, batch_loader, samples_before
from ppd_core.training.shard_stream import ShardStream

PLAIN = {"crop_scale": [1.0, 1.0], "flip_share": 0.0, "colour_share": 0.0, "noise_share": 0.0}


def same(first: dict, second: dict) -> bool:
    return torch.equal(first["samples"]["image"], second["samples"]["image"]) and torch.equal(
        first["samples"]["depth"], second["samples"]["depth"]
    )


def numbers(batch: dict) -> list[int]:
    return batch["samples"]["image"][:, 0, 0, 0].tolist()


def loaded(config, first: int = 0, last: int = 6, places=None) -> list[dict]:
    return list(batch_loader(BatchMaker(config, 0, 1, places), first, last, pin_memory=False))


def test_a_batch_is_a_function_of_its_number(train_config) -> None:
    config = train_config()
    in_order = [BatchMaker(config, 0, 1).make(index) for index in range(4)]
    maker = BatchMaker(config, 0, 1)
    assert all(same(maker.make(index), in_order[index]) for index in (3, 0, 2, 1))
    assert not same(in_order[0], in_order[1])


def test_shapes_and_types(train_config) -> None:
    batch = BatchMaker(train_config(), 0, 1).make(0)
    assert (
        batch["samples"]["image"].shape == (2, 32, 48, 3)
        and batch["samples"]["image"].dtype == torch.uint8
    )
    assert (
        batch["samples"]["depth"].shape == (2, 1, 32, 48)
        and batch["samples"]["depth"].dtype == torch.float32
    )


@pytest.mark.parametrize("is_cached", [True, False])
def test_workers_do_not_change_the_order(train_config, is_cached: bool) -> None:
    config = train_config(data={"cache": is_cached})
    alone = loaded(config)
    with_workers = loaded(replace(config, data=replace(config.data, num_workers=2)))
    assert len(alone) == len(with_workers) == 6
    assert all(map(same, alone, with_workers))


@pytest.mark.parametrize("is_cached", [True, False])
def test_resumed_batches_are_the_rest(train_config, is_cached: bool) -> None:
    # 14 batches of 2: the stream goes into its second epoch of 20 frames.
    config = train_config(data={"cache": is_cached})
    whole = loaded(config, 0, 14)
    for first in (3, 10, 12):
        rest = loaded(config, first, 14, whole[first - 1]["places"])
        assert all(map(same, rest, whole[first:]))


def test_every_frame_comes_once_an_epoch(train_config) -> None:
    config = train_config(data={"augment": PLAIN})
    seen = [number for batch in loaded(config, 0, 20) for number in numbers(batch)]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]


def test_processes_have_different_frames(train_config) -> None:
    config = train_config(data={"augment": PLAIN})
    makers = [BatchMaker(config, rank, 2) for rank in range(2)]
    seen = [{n for index in range(5) for n in numbers(maker.make(index))} for maker in makers]
    assert seen[0] | seen[1] == set(range(20)) and not seen[0] & seen[1]


def test_sources_are_mixed_by_weight(train_config, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, number in (("a", 1), ("b", 2)):
        image = np.full((32, 48, 3), number, np.uint8)
        depth = rng.uniform(1, 2, (32, 48)).astype(np.float32)
        (tmp_path / name).mkdir()
        write_shard(
            tmp_path / name / "shard-000000.tar", [DepthSample("x", image, depth, None, {})]
        )
    sources = [
        {"urls": str(tmp_path / "a"), "weight": 3.0},
        {"urls": str(tmp_path / "b"), "weight": 1.0},
    ]
    config = train_config(data={"sources": sources, "augment": PLAIN, "batch_size": 50})
    maker = BatchMaker(config, 0, 1)
    seen = Counter(n for index in range(8) for n in numbers(maker.make(index)))
    assert seen[1] == pytest.approx(300, abs=10)


def test_phases_change_size_and_count(train_config) -> None:
    phases = [{"until_step": 2, "size": [16, 16], "batch_size": 5}]
    config = train_config(phases=phases, optimizer={"accumulation": 2})
    # Two steps of two batches of 5, then batches of 2.
    assert [samples_before(config, index) for index in (0, 1, 4, 5, 7)] == [0, 5, 20, 22, 26]
    maker = BatchMaker(config, 0, 1)
    assert maker.make(3)["samples"]["image"].shape == (5, 16, 16, 3)
    assert maker.make(4)["samples"]["image"].shape == (2, 32, 48, 3)


def write_frames(folder: Path, depths: list[float]) -> None:
    folder.mkdir()
    samples = []
    for number, value in enumerate(depths):
        image = np.full((32, 48, 3), number, np.uint8)
        depth = np.full((32, 48), value, np.float32)
        samples.append(DepthSample(f"{number}", image, depth, None, {}))
    write_shard(folder / "shard-000000.tar", samples)


@pytest.mark.parametrize("is_cached", [True, False])
def test_frames_without_depth_are_passed_over(
    train_config, tmp_path: Path, is_cached: bool
) -> None:
    write_frames(tmp_path / "set", [2.0, np.nan, np.inf, 3.0, 200.0])
    data = {"sources": [{"urls": str(tmp_path / "set")}], "cache": is_cached, "augment": PLAIN}
    batches = loaded(train_config(data=data))
    assert {number for batch in batches for number in numbers(batch)} == {0, 3}


def test_a_data_set_on_disk_is_a_source(train_config, monkeypatch) -> None:
    asked = []

    def open_dataset(*arguments: str) -> list[DepthSample]:
        asked.append(arguments)
        depth = np.full((32, 48), 2.0, np.float32)
        images = (np.full((32, 48, 3), number, np.uint8) for number in range(6))
        return [DepthSample("x", image, depth, None, {}) for image in images]

    monkeypatch.setattr("ppd_core.data.datasets.open_dataset", open_dataset)
    source = {"dataset": "hypersim", "root": "/data/h", "split": "val"}
    config = train_config(data={"sources": [source], "augment": PLAIN, "cache": False})
    seen = [number for batch in loaded(config, 0, 3) for number in numbers(batch)]
    assert sorted(seen) == list(range(6))
    assert asked == [("hypersim", "/data/h", "val")]


def test_a_set_without_depth_ends_with_a_sentence(train_config, tmp_path: Path) -> None:
    write_frames(tmp_path / "set", [np.nan, np.inf])
    data = {"sources": [{"urls": str(tmp_path / "set")}], "num_workers": 1}
    (first, *_) = loaded(train_config(data=data))
    assert first == (
        f"{tmp_path / 'set'} must have depth between 0 and 80 m, got 100 frames in a row without"
    )


def test_a_stream_goes_on_where_it_was(shards: Path) -> None:
    order = {"seed": 3, "shuffle_buffer": 4}
    whole = ShardStream(str(shards), **order)
    seen = [(int(image[0, 0, 0]), whole.place) for image, _ in islice(whole, 45)]
    assert sorted(number for number, _ in seen[:20]) == list(range(20))
    for start in (1, 20, 33):
        rest = ShardStream(str(shards), place=seen[start - 1][1], **order)
        again = [int(image[0, 0, 0]) for image, _ in islice(rest, 45 - start)]
        assert again == [number for number, _ in seen[start:]]
