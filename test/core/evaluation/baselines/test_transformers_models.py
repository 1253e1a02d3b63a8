"""Rivals that transformers keeps: tiny random ones, and planted answers for sign and unit."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from ppd_core.evaluation.baselines.cards import MODELS
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.baselines.transformers_models import (
    PromptDepthAnything,
    TransformersModel,
    open_transformers,
)
from ppd_core.evaluation.model import ModelError, SensorModel

transformers = pytest.importorskip("transformers")

OPTIONS = ModelOptions(torch.device("cpu"))
DINO = {
    "model_type": "dinov2",
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "image_size": 28,
    "patch_size": 14,
    "out_indices": [1, 2, 3, 4],
    "reshape_hidden_states": False,
    "apply_layernorm": True,
}
NECK = {
    "reassemble_hidden_size": 16,
    "neck_hidden_sizes": [8, 8, 8, 8],
    "fusion_hidden_size": 8,
    "head_hidden_size": 4,
}


def depth_anything(**changes):
    config = transformers.DepthAnythingConfig(backbone_config=dict(DINO), **NECK, **changes)
    processor = transformers.DPTImageProcessor(
        size={"height": 42, "width": 42}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return transformers.DepthAnythingForDepthEstimation(config), processor


def depth_pro():
    encoder = {
        "model_type": "dinov2",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "use_mask_token": False,
    }
    config = transformers.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=8,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[8, 8],
        use_fov_model=True,
        image_model_config=dict(encoder),
        patch_model_config=dict(encoder),
        fov_model_config=dict(encoder),
    )
    processor = transformers.DepthProImageProcessor(size={"height": 64, "width": 64})
    return transformers.DepthProForDepthEstimation(config), processor


def zoedepth():
    beit = {
        "model_type": "beit",
        "image_size": 32,
        "patch_size": 16,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "use_relative_position_bias": True,
        "reshape_hidden_states": False,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = transformers.ZoeDepthConfig(
        backbone_config=beit,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=4,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
    )
    processor = transformers.ZoeDepthImageProcessor(
        size={"height": 32, "width": 64}, keep_aspect_ratio=True, ensure_multiple_of=32
    )
    return transformers.ZoeDepthForDepthEstimation(config), processor


def prompt_depth_anything():
    config = transformers.PromptDepthAnythingConfig(backbone_config=dict(DINO), **NECK)
    processor = transformers.PromptDepthAnythingImageProcessor(
        size={"height": 42, "width": 42}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return transformers.PromptDepthAnythingForDepthEstimation(config), processor


TINY = {
    "depth-anything-v2-small": depth_anything,
    "depth-anything-v2-metric-indoor-small": lambda: depth_anything(
        depth_estimation_type="metric", max_depth=20
    ),
    "depth-pro": depth_pro,
    "zoedepth": zoedepth,
}


class Planted:
    """A network that answers with a ramp, whatever it is asked."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, answer):
        self.answer = answer
        self.asked = None

    def eval(self):
        return self

    def __call__(self, **inputs):
        self.asked = inputs
        return SimpleNamespace(**self.answer)


def ramp(rows, cols, first, last):
    return torch.linspace(first, last, rows)[None, :, None].expand(1, rows, cols).clone()


@pytest.mark.parametrize("name", TINY)
def test_a_model_of_random_weights_answers_at_the_image_s_size(name, image):
    torch.manual_seed(0)
    model = TransformersModel(MODELS[name], *TINY[name]())
    prediction = model(image)
    assert prediction.relative_depth.shape == (75, 101)
    assert torch.isfinite(prediction.relative_depth).all()
    assert (prediction.metric_depth is None) == (model.space == "disparity")
    assert torch.equal(model(image).relative_depth, prediction.relative_depth)


def test_disparity_is_turned_so_that_small_is_near(image):
    processor = depth_anything()[1]
    planted = Planted({"predicted_depth": ramp(42, 56, 1.0, 5.0)})  # the last row is near
    prediction = TransformersModel(MODELS["depth-anything-v2-large"], planted, processor)(image)
    rows = prediction.relative_depth.mean(dim=1)
    assert (rows.diff() < 1e-4).all()
    assert prediction.metric_depth is None
    torch.testing.assert_close(rows[[0, -1]], torch.tensor([-1.0, -5.0]), atol=0.1, rtol=0)


def test_metres_stay_metres(image):
    processor = depth_anything()[1]
    planted = Planted({"predicted_depth": ramp(42, 56, 2.0, 2.0)})
    card = MODELS["depth-anything-v2-metric-outdoor-small"]
    prediction = TransformersModel(card, planted, processor)(image)
    torch.testing.assert_close(prediction.metric_depth, torch.full((75, 101), 2.0))
    assert torch.equal(prediction.metric_depth, prediction.relative_depth)


def test_depth_pro_makes_metres_by_its_own_field_of_view(image):
    # Its answer is inverse depth for a focal length of one image width.
    planted = Planted(
        {"predicted_depth": torch.full((1, 64, 64), 0.5), "field_of_view": torch.tensor([90.0])}
    )
    prediction = TransformersModel(MODELS["depth-pro"], planted, depth_pro()[1])(image)
    focal_in_widths = 0.5 / math.tan(math.radians(45))
    expected = torch.full((75, 101), focal_in_widths / 0.5)
    torch.testing.assert_close(prediction.metric_depth, expected)


def test_depth_pro_sees_its_square_and_depth_anything_its_shorter_side(image):
    for build, size in ((depth_pro, (64, 64)), (depth_anything, (42, 56))):
        shape = build()[1](images=image, return_tensors="pt")["pixel_values"].shape
        assert tuple(shape[-2:]) == size


def test_zoedepth_s_padding_is_cut_off_again(image):
    # The padding is int(sqrt(side / 2) * 3) pixels at each border: 18 of 75 rows, 21 of 101.
    rows = torch.arange(75 + 2 * 18, dtype=torch.float32)
    planted = Planted({"predicted_depth": rows[None, :, None].expand(1, -1, 101 + 2 * 21)})
    prediction = TransformersModel(MODELS["zoedepth"], planted, zoedepth()[1])(image)
    expected = torch.arange(18, 18 + 75, dtype=torch.float32)[:, None].expand(75, 101)
    torch.testing.assert_close(prediction.metric_depth, expected)


def test_prompt_depth_anything_takes_the_sensor_s_metres_without_its_holes(image):
    torch.manual_seed(0)
    model = PromptDepthAnything(MODELS["prompt-depth-anything-small"], *prompt_depth_anything())
    assert isinstance(model, SensorModel)
    sensor = torch.full((24, 32), 2.0)
    sensor[:, 16:] = 4.0
    sensor[5:9, 3:6] = torch.nan
    sensor[12, 20] = 0
    prediction = model(image, sensor_depth=sensor)
    assert prediction.metric_depth.shape == (75, 101)
    assert torch.isfinite(prediction.metric_depth).all()
    planted = Planted({"predicted_depth": ramp(42, 56, 2.0, 2.0)})
    processor = prompt_depth_anything()[1]
    asked_of = PromptDepthAnything(MODELS["prompt-depth-anything-small"], planted, processor)
    asked_of(image, sensor_depth=sensor)
    asked = planted.asked["prompt_depth"]
    assert asked.shape == (1, 1, 24, 32)
    filled = torch.full((24, 32), 2.0)
    filled[:, 16:] = 4.0
    assert torch.equal(asked[0, 0], filled)


def test_prompt_depth_anything_says_when_there_is_no_sensor(image):
    model = PromptDepthAnything(MODELS["prompt-depth-anything-small"], *prompt_depth_anything())
    with pytest.raises(ModelError, match="improves a sensor's depth, and this image has none"):
        model(image)
    with pytest.raises(ModelError, match="not all holes"):
        model(image, sensor_depth=torch.zeros(4, 4))


def test_a_model_is_loaded_from_a_folder_by_the_library_s_own_call(tmp_path, image):
    torch.manual_seed(0)
    network, processor = depth_anything()
    network.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    card = MODELS["depth-anything-v2-small"]
    opened = open_transformers(card, ModelOptions(torch.device("cpu"), repo=tmp_path))
    expected = TransformersModel(card, network, processor)(image).relative_depth
    torch.testing.assert_close(opened(image).relative_depth, expected)
    assert opened.licence == "Apache-2.0"


def test_weights_that_are_not_here_are_one_clear_sentence():
    with pytest.raises(ModelError) as failure:
        open_transformers(MODELS["depth-pro"], OPTIONS)
    text = str(failure.value)
    assert "depth-pro could not be loaded from apple/DepthPro-hf" in text
    assert "non-commercial use only" in text
    assert "allow its download" in text


def test_options_that_it_has_no_use_for_are_refused():
    with pytest.raises(ValueError, match="depth-pro has no num_steps"):
        open_transformers(MODELS["depth-pro"], ModelOptions(torch.device("cpu"), num_steps=4))


def test_a_picture_that_is_none_is_refused(image):
    model = TransformersModel(MODELS["depth-pro"], Planted({}), None)
    with pytest.raises(ValueError, match="image must be"):
        model(image.astype("float32"))
