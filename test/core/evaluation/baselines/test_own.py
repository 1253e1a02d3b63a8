"""Our own models, as evaluation sees them."""

from __future__ import annotations

import pytest
import torch

from ppd_core import DepthPipeline
from ppd_core.evaluation.baselines import MODELS, open_model
from ppd_core.evaluation.baselines.cards import own_card
from ppd_core.evaluation.baselines.own import TwinModel
from ppd_core.evaluation.model import ModelError


@pytest.fixture(scope="module")
def nano():
    return DepthPipeline.from_pretrained("nano", device="cpu")


def test_a_preset_says_what_its_pipeline_says(nano, image):
    model = open_model("nano", "cpu", num_steps=2)
    assert (model.name, model.space, model.licence) == ("nano-2steps", "log", "Apache-2.0")
    prediction = model(image)
    assert prediction.metric_depth is None
    assert torch.equal(prediction.relative_depth, nano(image, num_steps=2).relative_depth)


def test_the_twin_is_the_prompt_s_own_head(nano, image, monkeypatch):
    model = open_model("nano-twin", "cpu")
    assert (model.name, model.space) == ("nano-twin", "log")
    depth = model(image).relative_depth
    assert depth.shape == (75, 101)
    assert not torch.allclose(depth, nano(image).relative_depth)

    def quarter(images):
        return torch.full((1, 1, *images.shape[-2:]), 0.25)

    monkeypatch.setattr(nano.models["semantics"], "predict_field", quarter)
    planted = TwinModel(MODELS["nano-twin"], nano)(image).relative_depth
    assert torch.equal(planted, torch.full((75, 101), 0.75))


def test_a_checkpoint_is_a_model_by_its_path(tmp_path, nano, image):
    path = tmp_path / "mine.safetensors"
    nano.save_pretrained(path)
    model = open_model(path, "cpu", processing_area=96 * 64)
    assert model.name == f"{path}-6144px"
    assert model.licence == "that of its checkpoint"
    expected = nano(image, processing_area=96 * 64).relative_depth
    assert torch.equal(model(image).relative_depth, expected)


def test_untrained_weights_are_told_of(image):
    assert open_model("tiny", "cpu").name == "tiny (untrained)"


def test_published_weights_that_are_missing_are_one_clear_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"ppd-da2 could not be loaded: ppd.pth is missing"):
        open_model("ppd-da2", "cpu", weights_dir=tmp_path)


def test_a_twin_needs_a_depth_head():
    pipeline = DepthPipeline.from_pretrained("tiny", device="cpu")
    with pytest.raises(ModelError, match="tiny-twin needs a prompt with a depth head"):
        TwinModel(own_card("tiny-twin"), pipeline)


def test_options_that_a_pipeline_has_no_use_for_are_refused():
    with pytest.raises(ValueError, match="nano has no ensemble_size or repo"):
        open_model("nano", "cpu", ensemble_size=3, repo="x")
    with pytest.raises(ValueError, match="nano-twin has no num_steps"):
        open_model("nano-twin", "cpu", num_steps=2)
