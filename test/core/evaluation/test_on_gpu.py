"""Protocols and measures give on a GPU what they give on the CPU."""

from __future__ import annotations

import pytest
import torch

from ppd_core import Intrinsics
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.metrics import METRICS
from ppd_core.evaluation.model import Prediction
from ppd_core.evaluation.protocols import OWN_PROTOCOL, PROTOCOLS

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
CAMERA = Intrinsics.from_fov(96, 72, 60)


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, truth and mask, (72, 96): a box before a wall, both with noise."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.full((72, 96), 4.0)
    truth[20:50, 30:70] = 2.0
    predicted = truth * (1 + 0.05 * torch.rand(truth.shape, generator=generator))
    mask = torch.rand(truth.shape, generator=generator) < 0.95
    return predicted.to(DEVICE), truth.to(DEVICE), mask.to(DEVICE)


@pytest.mark.parametrize("name", [*METRICS, *CLOUD_METRICS])
def test_every_measure(scene, name):
    metric = {**METRICS, **CLOUD_METRICS}[name]
    camera = (CAMERA,) if name in CLOUD_METRICS else ()
    found = metric.function(*(one[None] for one in scene), *camera).cpu()
    expected = metric.function(*(one[None].cpu() for one in scene), *camera)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("space", "name"), [*OWN_PROTOCOL.items()])
def test_every_protocol(scene, space, name):
    predicted, truth, mask = scene

    def align(where: str) -> torch.Tensor:
        metres = predicted.to(where)
        relative = {"log": metres.log1p(), "disparity": -1 / metres}.get(space, metres)
        known = metres if space == "metric" else None
        prediction = Prediction(relative, known)
        return PROTOCOLS[name].align(prediction, truth.to(where), mask.to(where), space=space)

    # Of lines with as many inliers the two may take different ones.
    torch.testing.assert_close(align(DEVICE).cpu(), align("cpu"), rtol=1e-3, atol=1e-3)
