from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.evaluation.baselines import open_model
from ppd_core.evaluation.model import ModelError, predict

IMAGE = np.zeros((2, 3, 3), np.uint8)


def test_the_sensor_is_measured_where_it_sees_something():
    sensed = torch.tensor([[1.0, 0.0, 2.0], [torch.nan, 3.0, torch.inf]])
    found = predict(open_model("sensor"), IMAGE, sensor_depth=sensed).metric_depth
    hole = torch.nan
    expected = torch.tensor([[1.0, hole, 2.0], [hole, 3.0, hole]])
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_data_without_a_sensor_are_told_so():
    with pytest.raises(ModelError, match="sensor"):
        predict(open_model("sensor"), IMAGE)


def test_it_has_no_use_for_steps():
    with pytest.raises(ValueError, match="sensor has no num_steps"):
        open_model("sensor", num_steps=4)
