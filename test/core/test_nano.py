"""The packaged model: that it is what the preset says, and that its depth is depth."""

from __future__ import annotations

import pytest
import torch

from ppd_core import DepthPipeline
from ppd_core.config import PRESETS, config_from_json
from ppd_core.evaluation.metrics import relative_depth_metrics
from ppd_core.weights import packaged_checkpoint, read_checkpoint

SCENES = range(900_000_000, 900_000_012)
MAX_MEAN_ABSREL = 0.25


@pytest.fixture(scope="module")
def nano() -> DepthPipeline:
    return DepthPipeline.from_pretrained("nano", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def frames(open_camera):
    from ppd_core.sim.scenes import build_scene, draw_views

    with open_camera() as camera:
        scenes = (build_scene(seed) for seed in SCENES)
        return [camera.render(scene, draw_views(scene, 1)[0]) for scene in scenes]


def test_the_packaged_file_is_the_preset_and_small():
    path = packaged_checkpoint("nano")
    tensors, metadata = read_checkpoint(path)
    assert config_from_json(metadata["ppd_config"]) == PRESETS["nano"]
    assert metadata["is_trained"] == "true"
    assert path.stat().st_size <= 30e6
    assert sum(tensor.numel() for tensor in tensors.values()) <= 15e6


def test_nano_counts_as_trained(nano):
    assert nano.is_trained


def error(pipeline: DepthPipeline, frame, image=None) -> float:
    result = pipeline(frame.image if image is None else image)
    truth, mask = torch.from_numpy(frame.depth)[None], torch.from_numpy(frame.valid_mask)[None]
    metrics = relative_depth_metrics(result.relative_depth[None], truth, mask)
    return float(metrics["absrel"])


def test_depth_of_scenes_that_it_never_saw_is_depth(nano, frames):
    errors = torch.tensor([error(nano, frame) for frame in frames])
    # The model card has the mean over 500 scenes; a dozen scatter around it.
    assert errors.mean() < MAX_MEAN_ABSREL, errors


def test_depth_comes_from_the_image(nano, frames):
    own = [error(nano, frame) for frame in frames]
    others = [*frames[1:], frames[0]]
    exchanged = [
        error(nano, frame, other.image) for frame, other in zip(frames, others, strict=True)
    ]
    assert sum(own) < 0.6 * sum(exchanged)
