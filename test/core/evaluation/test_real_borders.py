"""Every measure of borders, on a real scene: the more blurred, the worse."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
import torch

from ppd_core.data.motorcycle import load_motorcycle
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.metrics import METRICS

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("skimage", "scipy")),
    reason="the scene comes with scikit-image; pip install ppd_ros[eval]",
)
BORDERS = {name: METRICS[name] for name in ("boundary_f1", "flying", "unresolved")}


@pytest.fixture(scope="module")
def scene():
    return load_motorcycle()


@pytest.mark.parametrize("name", [*BORDERS, *CLOUD_METRICS])
def test_more_blur_is_worse(scene, name):
    metric = {**BORDERS, **CLOUD_METRICS}[name]
    camera = (scene.intrinsics,) if name in CLOUD_METRICS else ()
    truth = torch.from_numpy(scene.truth)[None]
    known = torch.isfinite(truth)
    log_depth = np.log(np.nan_to_num(scene.truth, nan=float(np.nanmedian(scene.truth))))
    figures = []
    for sigma_px in (0, 1, 2, 4):
        blurred = cv2.GaussianBlur(log_depth, (0, 0), sigma_px) if sigma_px else log_depth
        predicted = torch.from_numpy(np.exp(blurred))[None]
        figures.append(metric.function(predicted, truth, known, *camera).item())
    assert figures[0] == pytest.approx(0 if metric.is_smaller_better else 1, abs=1e-6)
    order = figures if metric.is_smaller_better else figures[::-1]
    assert order == sorted(set(order))
