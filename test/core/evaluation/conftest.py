from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ppd_core.data.eval_samples import EvalSample, make_eval_sample
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.evaluation.records import Key, Record
from ppd_core.evaluation.summary import Row
from ppd_core.types import Intrinsics

HEIGHT, WIDTH = 24, 32


def sample(index: int) -> EvalSample:
    """A box, 1 m away, in front of a slanted wall; its place depends on the index."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = 3 + 0.01 * columns + 0.02 * rows
    depth[6:16, 4 + index : 16 + index] = 1.0
    image = np.full((HEIGHT, WIDTH, 3), 40 + index, np.uint8)
    camera = Intrinsics.from_fov(WIDTH, HEIGHT, 60)
    return make_eval_sample(f"scene/{index}", image, depth, intrinsics=camera)


class FakeSet:
    """Counts what is read; an index may have a reader of its own."""

    name, split, licence, page = "fake", "test", "none", "nowhere"

    def __init__(self, count: int, readers: dict[int, Callable[[], EvalSample]] | None = None):
        self._count, self._readers = count, readers or {}
        self.read: list[int] = []

    def __len__(self) -> int:
        return self._count

    def names(self) -> list[str]:
        return [f"scene/{index}" for index in range(self._count)]

    def __getitem__(self, index: int) -> EvalSample:
        self.read.append(index)
        return self._readers.get(index, lambda: sample(index))()


class TruthModel:
    """Knows every fake sample by the brightness of its image, and is off by a factor."""

    name, space, licence = "truth", "log", "none"

    def __init__(self, blur: float = 0.0) -> None:
        self.blur, self.calls = blur, 0

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        self.calls += 1
        depth = torch.from_numpy(sample(int(image[0, 0, 0]) - 40).depth)
        depth = (1 - self.blur) * depth + self.blur * depth.roll((1, 1), (0, 1))
        return Prediction(torch.log1p(depth) / 2, depth * 1.1)


class FailingModel(TruthModel):
    """Fails in a chosen way at a chosen image."""

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self._at, self._how = at, how

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        found = super().__call__(image)
        if int(image[0, 0, 0]) - 40 != self._at:
            return found
        if self._how == "raises":
            raise ModelError("out of memory")
        if self._how == "small":
            return Prediction(found.relative_depth[:5])
        relative = found.relative_depth.clone()
        relative[3, 3] = torch.nan
        return Prediction(relative, found.metric_depth)


@pytest.fixture
def fakes() -> SimpleNamespace:
    """A data set and models that need no files."""
    return SimpleNamespace(
        FakeSet=FakeSet,
        TruthModel=TruthModel,
        FailingModel=FailingModel,
        sample=sample,
    )


def make_row(model: str = "nano", protocol: str = "ppd", *records: Record) -> Row:
    key = Key(model, "sha256:1", "simulated", "/data", protocol, {"steps": "4"}, "1.0")
    return Row(key, "MIT", records)


@pytest.fixture
def rows() -> list[Row]:
    """Of two models on three images: the first failed on one that the second has no edge in."""
    figures = {"absrel": 0.25, "delta1": 0.5, "edge_cloud_m": 0.125, "sqrel": 1.0}
    return [
        make_row(
            "nano",
            "ppd",
            Record("a", figures, model_s=0.1, metrics_s=0.2),
            Record("b", {**figures, "absrel": 0.75}, model_s=0.3, metrics_s=0.2),
            Record("c<b>", failure="unreadable", detail="cannot read <c>.png: truncated"),
        ),
        make_row(
            "twin",
            "ppd",
            Record("a", figures, model_s=0.1, metrics_s=0.2),
            Record("b", figures, model_s=0.1, metrics_s=0.2),
            Record("c<b>", {**figures, "edge_cloud_m": float("nan")}, model_s=0.1, metrics_s=0.2),
        ),
    ]
