"""MoGe-2 by itself: its planted point maps as metres."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ppd_core.evaluation.baselines import MODELS, open_model
from ppd_core.evaluation.baselines.moge2_depth import MoGe2Depth, input_size
from ppd_core.evaluation.model import ModelError
from ppd_core.geometry.camera import ray_table
from ppd_core.models.moge2 import MoGe2Geometry
from ppd_core.types import Intrinsics

CAMERA = Intrinsics.from_focal(101, 75, 90.0)


class Planted(nn.Module):
    """A slanted floor seen by `CAMERA`, its z short of a shift and all of it of a scale."""

    shift, scale = 0.75, 2.0

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked = None
        self.depth = torch.linspace(4.0, 1.0, 75)[:, None].expand(75, 101)

    def encode(self, images):
        self.asked = images
        return None

    def geometry(self, features, height, width):
        points = ray_table(CAMERA, torch.device("cpu")) * self.depth[..., None] / self.scale
        points[..., 2] -= self.shift
        mask = torch.ones(1, height, width)
        mask[:, :10] = 0
        return MoGe2Geometry(points[None], points[None], mask, torch.tensor([self.scale]))


@pytest.mark.parametrize("intrinsics", [None, CAMERA])
def test_shift_and_scale_are_put_right(intrinsics, image):
    network = Planted()
    prediction = MoGe2Depth(MODELS["moge-2"], network)(image, intrinsics=intrinsics)
    torch.testing.assert_close(prediction.metric_depth, network.depth, atol=1e-3, rtol=1e-3)
    assert torch.equal(prediction.relative_depth, prediction.metric_depth)


def test_the_network_sees_as_many_patches_as_its_authors_give_it(image):
    network = Planted()
    MoGe2Depth(MODELS["moge-2"], network)(image)
    assert tuple(network.asked.shape) == (1, 3, 51 * 14, 69 * 14)
    assert 0 <= network.asked.min() < network.asked.max() <= 1
    assert input_size(480, 640, 3600) == (51 * 14, 69 * 14)
    assert input_size(640, 480, 3600) == (69 * 14, 51 * 14)


def test_its_weights_are_those_of_the_registry(tmp_path):
    with pytest.raises(ModelError, match=r"moge-2 could not be loaded: moge2.pt is missing"):
        open_model("moge-2", "cpu", weights_dir=tmp_path)
