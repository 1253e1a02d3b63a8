"""Each measure against its closed form, and against NumPy written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ppd_core.evaluation.metrics import (
    METRICS,
    delta,
    log10_error,
    rmse_log,
    silog,
    sq_rel,
)

ERRORS = ["absrel", "sqrel", "rmse_m", "rmse_log", "log10", "silog"]
DELTAS = ["delta0.5", "delta1", "delta2", "delta3"]


@pytest.fixture
def truth() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 40, 50, generator=generator, dtype=torch.float64) * 20 + 0.5


@pytest.fixture
def valid(truth) -> torch.Tensor:
    return torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.7


def everywhere(truth: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(truth, dtype=torch.bool)


def test_a_factor_has_its_closed_forms(truth):
    arguments = (1.5 * truth, truth, everywhere(truth))
    found = {name: METRICS[name].function(*arguments) for name in ERRORS + DELTAS}
    mean, mean_square = truth.mean(dim=(1, 2)), (truth**2).mean(dim=(1, 2))
    expected = {
        "absrel": torch.full((3,), 0.5),
        "sqrel": 0.25 * mean,
        "rmse_m": 0.5 * mean_square.sqrt(),
        "rmse_log": torch.full((3,), math.log(1.5), dtype=torch.float64),
        "log10": torch.full((3,), math.log10(1.5), dtype=torch.float64),
        "silog": torch.zeros(3),  # a factor is what it forgives
        "delta0.5": torch.zeros(3),
        "delta1": torch.zeros(3),
        "delta2": torch.ones(3),  # 1.25^2 = 1.5625
        "delta3": torch.ones(3),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.double(), atol=1e-9, rtol=1e-9)


def test_silog_of_two_factors_is_half_their_distance_in_log():
    truth = torch.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    predicted = truth * torch.tensor([2.0, 2.0, 0.5, 0.5])
    # ln z - ln z* is +ln 2 and -ln 2, half and half.
    found = silog(predicted, truth, everywhere(truth)).item()
    assert found == pytest.approx(100 * math.log(2), rel=1e-6)
    assert silog(7 * predicted, truth, everywhere(truth)).item() == pytest.approx(found, rel=1e-5)


def test_deltas_are_at_powers_of_five_quarters():
    truth = torch.ones(1, 1, 8)
    edges = [1.25**power for power in (0.5, 1, 2, 3)]
    predicted = torch.tensor([[[edge * side for edge in edges for side in (0.999, 1.001)]]])
    for power, expected in ((0.5, 1 / 8), (1, 3 / 8), (2, 5 / 8), (3, 7 / 8)):
        assert delta(predicted, truth, everywhere(truth), power=power).item() == expected
        assert delta(1 / predicted, truth, everywhere(truth), power=power).item() == expected


def test_measures_agree_with_numpy_written_out(truth, valid):
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    predicted = truth * torch.exp(0.3 * noise.double())
    for index in range(3):
        z, t = predicted[index][valid[index]].numpy(), truth[index][valid[index]].numpy()
        log_error = np.log(z) - np.log(t)
        ratio = np.maximum(z / t, t / z)
        expected = {
            "absrel": np.mean(np.abs(z - t) / t),
            "sqrel": np.mean((z - t) ** 2 / t),
            "rmse_m": np.sqrt(np.mean((z - t) ** 2)),
            "rmse_log": np.sqrt(np.mean(log_error**2)),
            "log10": np.mean(np.abs(np.log10(z) - np.log10(t))),
            "silog": 100 * np.sqrt(np.mean(log_error**2) - np.mean(log_error) ** 2),
            **{f"delta{p:g}": np.mean(ratio < 1.25**p) for p in (0.5, 1, 2, 3)},
        }
        for name, value in expected.items():
            found = METRICS[name].function(predicted, truth, valid)[index].item()
            assert found == pytest.approx(value, abs=1e-6), name
            single = METRICS[name].function(predicted.float(), truth.float(), valid)[index].item()
            assert single == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("name", [*METRICS])
def test_truth_itself_has_the_best_value(name):
    # A box in front of a wall: depth edges in all four directions.
    depth = torch.full((2, 24, 32), 3.0)
    depth[:, 8:16, 10:20] = 1.5
    metric = METRICS[name]
    found = metric.function(depth, depth, everywhere(depth))
    assert found.shape == (2,)
    best = torch.zeros(2) if metric.is_smaller_better else torch.ones(2)
    torch.testing.assert_close(found.float(), best)


def test_the_mask_alone_says_how_far_truth_counts():
    truth = torch.tensor([[[10.0, 200.0]]])
    predicted = torch.tensor([[[10.0, 100.0]]])
    assert METRICS["absrel"].function(predicted, truth, everywhere(truth)).item() == 0.25
    near = truth < 80
    assert METRICS["absrel"].function(predicted, truth, near).item() == 0
    # The functions themselves keep to the 80 m of training.
    assert sq_rel(predicted, truth, everywhere(truth)).item() == 0


def test_what_lies_outside_the_mask_is_not_read(truth, valid):
    predicted = 1.1 * truth
    spoilt_truth, spoilt = truth.clone(), predicted.clone()
    spoilt_truth[~valid], spoilt[~valid] = torch.nan, -1.0
    for name in ERRORS + DELTAS:
        function = METRICS[name].function
        torch.testing.assert_close(
            function(spoilt, spoilt_truth, valid), function(predicted, truth, valid)
        )


def test_a_prediction_that_is_no_depth_is_not_hidden():
    truth = torch.ones(2, 1, 2)
    predicted = torch.tensor([[[1.0, torch.nan]], [[1.0, -1.0]]])
    for function in (rmse_log, log10_error, silog):
        assert function(predicted, truth, everywhere(truth)).isnan().all()
    assert delta(predicted, truth, everywhere(truth)).tolist() == [0.5, 0.5]
