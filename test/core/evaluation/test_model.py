"""The one face that depth models have for evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.evaluation.model import ModelError, Prediction, predict

IMAGE = np.zeros((2, 3, 3), np.uint8)
DEPTH = torch.ones(2, 3)


class Plain:
    name, space, licence = "plain", "depth", "MIT"

    def __call__(self, image, *, intrinsics=None):
        return Prediction(DEPTH)


class Sensor(Plain):
    needs_sensor_depth = True

    def __call__(self, image, *, intrinsics=None, sensor_depth=None):
        return Prediction(sensor_depth, sensor_depth)


class Truth:
    name, space, licence = "truth", "metric", "MIT"

    def reconstruct(self, truth, valid_mask):
        return Prediction(truth.where(valid_mask, torch.nan))


def test_each_kind_of_model_gets_what_it_takes():
    given = {"sensor_depth": 2 * DEPTH, "truth": 3 * DEPTH, "valid_mask": DEPTH > 0}
    answers = [predict(model, IMAGE, **given) for model in (Plain(), Sensor(), Truth())]
    assert [answer.relative_depth.mean().item() for answer in answers] == [1, 2, 3]


def test_an_oracle_without_truth_is_an_error():
    with pytest.raises(ModelError, match="truth reconstructs the truth"):
        predict(Truth(), IMAGE)


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ((torch.ones(1, 2, 3),), r"relative_depth must be \(H, W\) float32, got \(1, 2, 3\)"),
        ((DEPTH.double(),), r"got \(2, 3\) float64"),
        ((DEPTH, torch.ones(3, 2)), r"must be alike, got \(2, 3\) and \(3, 2\)"),
        ((DEPTH, DEPTH.half()), "metric_depth must be"),
    ],
)
def test_a_prediction_checks_itself(depths, message):
    with pytest.raises(ValueError, match=message):
        Prediction(*depths)
