import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ppd_core.alignment.hypotheses import FEATURES, NAMES
from ppd_core.training.data_config import AugmentConfig
from ppd_core.training.surfaces import (
    ERROR_SCALE_LOG,
    MAX_ERROR_LOG,
    SurfaceObjective,
    good_relative_depth,
    surface_sample,
    undecided_pixels,
)

H, W = 64, 96


def frame() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (H, W, 3), np.uint8)
    depth = (4 - 2.5 * np.arange(H) / H)[:, None].repeat(W, axis=1)
    depth[20:50, 30:60] = 1.0
    depth[:4] = np.inf
    return image, depth.astype(np.float32)


def sample(seed: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    return surface_sample(*frame(), (32, 48), AugmentConfig(), rng, model="nano")


class Says(nn.Module):
    """Answers with the logits that it was given, and no correction."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits).view(1, -1, 1, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits, torch.zeros(1, 1, 1, 1)


def one_pixel(target: float, known: tuple[bool, bool] = (True, True)) -> dict[str, Tensor]:
    """Two hypotheses, 1 m and 2 m."""
    return {
        "features": torch.zeros(1, 1, 1, 1),
        "log_depth": torch.tensor([0.0, math.log(2)]).view(1, 2, 1, 1),
        "is_known": torch.tensor(known).view(1, 2, 1, 1),
        "target": torch.tensor(target).view(1, 1, 1, 1),
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_is_a_function_of_its_generator(seed):
    one, again = sample(seed), sample(seed)
    assert one["features"].shape == (FEATURES, 32, 48)
    assert one["log_depth"].shape == one["is_known"].shape == (len(NAMES), 32, 48)
    assert one["target"].shape == (1, 32, 48)
    for name, value in one.items():
        torch.testing.assert_close(value, again[name], equal_nan=True)


def test_the_expected_error_is_that_of_the_weighed_hypotheses():
    objective = SurfaceObjective()
    losses = objective.losses(Says([math.log(3), 0.0]), one_pixel(0.0))
    away = min(math.log(2), MAX_ERROR_LOG)
    assert losses["expected"].item() == pytest.approx(0.25 * away / ERROR_SCALE_LOG)
    sure = objective.losses(Says([20.0, 0.0]), one_pixel(0.0))
    wrong = objective.losses(Says([0.0, 20.0]), one_pixel(0.0))
    assert sure["loss"] < losses["loss"] < wrong["loss"]


def test_what_is_not_known_costs_nothing():
    objective = SurfaceObjective()
    alone = objective.losses(Says([-9.0, 9.0]), one_pixel(0.0, (True, False)))
    assert alone["expected"].item() == pytest.approx(0, abs=1e-5)
    assert objective.losses(Says([0.0, 0.0]), one_pixel(math.nan))["loss"] == 0
    assert objective.losses(Says([0.0, 0.0]), one_pixel(0.0, (False, False)))["loss"] == 0


def test_undecided_is_where_the_sensor_has_nothing_or_something_wrong():
    log_depth = torch.zeros(2, 5, 9)
    is_known = torch.ones(2, 5, 9, dtype=torch.bool)
    is_known[0, 2, 1] = False
    log_depth[0, 2, 7] = 0.1
    undecided = undecided_pixels(log_depth, is_known, torch.zeros(1, 5, 9))[0]
    expected = torch.zeros(5, 9)
    expected[1:4, 0:3] = expected[1:4, 6:9] = 1
    assert torch.equal(undecided, expected)


def test_a_good_model_keeps_near_and_far_apart():
    depth = frame()[1]
    for seed in range(5):
        relative = good_relative_depth(depth, np.random.default_rng(seed)).numpy()
        assert relative.shape == (H, W) and np.isfinite(relative).all()
        inside = np.isfinite(depth)
        assert np.corrcoef(relative[inside], np.log1p(depth[inside]))[0, 1] > 0.8
