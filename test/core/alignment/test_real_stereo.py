"""Alignment to a real sensor's depth: stereo matching, holes and mismatches and all."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.relation import check_related
from ppd_core.data.motorcycle import load_motorcycle
from ppd_core.evaluation.metric_depth import metric_errors
from ppd_core.pipeline import DepthPipeline
from ppd_core.types import AlignmentError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the pair comes with scikit-image"
)
SCALE, SHIFT = 1.25, 0.9


@pytest.fixture(scope="module")
def scene():
    return load_motorcycle()


def aligned_to_sensor(scene, relative, *, has_field=False):
    config = AlignmentConfig(has_field=has_field, is_tracked=False)
    anchors = depth_anchors(torch.from_numpy(scene.sensor_depth), *relative.shape, config)
    return FrameAligner(config).align(relative, anchors, 0.0)


def errors_of(scene, aligned):
    return metric_errors(aligned.metric_depth, torch.from_numpy(scene.truth))


def test_scale_of_a_perfect_model_is_found_in_spite_of_the_sensor_s_faults(scene):
    # Unknown pixels have some depth, too: the sensor sees nothing there, or something wrong.
    filled = np.where(np.isfinite(scene.truth), scene.truth, np.nanmedian(scene.truth))
    relative = torch.from_numpy((np.log1p(filled) - SHIFT) / SCALE).float()
    aligned = aligned_to_sensor(scene, relative)
    assert aligned.failure is None
    assert aligned.alignment.scale == pytest.approx(SCALE, abs=0.01)
    assert aligned.alignment.shift == pytest.approx(SHIFT, abs=0.01)
    errors = errors_of(scene, aligned)
    assert errors.abs_rel < 0.003
    assert errors.valid_share == 1


def test_nano_s_depth_of_it_becomes_metres_without_holes(scene):
    relative = DepthPipeline.from_pretrained("nano", device="cpu")(scene.image).relative_depth
    alone = aligned_to_sensor(scene, relative)
    local = aligned_to_sensor(scene, relative, has_field=True)
    # It never saw such a scene, and its shapes are rough; so are these bounds.
    assert errors_of(scene, alone).abs_rel < 0.2
    assert errors_of(scene, local).rmse_m < 0.75 * errors_of(scene, alone).rmse_m
    assert errors_of(scene, local).valid_share == 1


def test_it_is_told_from_its_mirror_image_and_from_one_that_is_not_registered(scene):
    config = AlignmentConfig()
    sensor = torch.from_numpy(scene.sensor_depth)
    relative = torch.zeros_like(sensor)
    check_related(scene.image, relative, depth_anchors(sensor, *sensor.shape, config), config)
    for other in (sensor.flip(1), sensor.flip(0), sensor.roll(40, 1)):
        anchors = depth_anchors(other, *sensor.shape, config)
        with pytest.raises(AlignmentError, match="does not show what the image shows"):
            check_related(scene.image, relative, anchors, config)
