"""Frames and shards small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ppd_core.data.shards import DepthSample, shard_name, write_shard
from ppd_core.training.config import TrainConfig
from ppd_core.training.config_file import build

HEIGHT, WIDTH = 32, 48


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_sample(number: int) -> DepthSample:
    """A box before a slanted wall; the first pixel of the image tells the number."""
    rng = np.random.default_rng(number)
    depth = np.linspace(3, 4, HEIGHT, dtype=np.float32)[:, None].repeat(WIDTH, axis=1)
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    top, left = rng.integers(4, HEIGHT // 2, 2)
    depth[top : top + 12, left : left + 16] = rng.uniform(1, 2)
    image[top : top + 12, left : left + 16] = rng.integers(120, 255, 3)
    image[0, 0] = number
    camera = {"width": WIDTH, "height": HEIGHT, "fx": 40.0, "fy": 40.0, "cx": 23.5, "cy": 15.5}
    return DepthSample(f"{number:09d}-00", image, depth, None, camera)


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """A folder of 4 shards of 5 frames, numbered from 0."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(4):
        numbers = range(shard * 5, shard * 5 + 5)
        write_shard(folder / shard_name(shard), (make_sample(number) for number in numbers))
    return folder


@pytest.fixture
def train_config(shards: Path) -> Callable[..., TrainConfig]:
    """Builds a small regression's config; words give parts another value."""

    def make(**changes: object) -> TrainConfig:
        data = {
            "sources": [{"urls": str(shards)}],
            "size": [HEIGHT, WIDTH],
            "batch_size": 2,
            "cache": True,
            "num_workers": 0,
        }
        data |= changes.pop("data", {})  # type: ignore[arg-type]
        values = {"objective": "regression", "steps": 10, "loss": "l1", "data": data, **changes}
        return build(TrainConfig, values)

    return make
