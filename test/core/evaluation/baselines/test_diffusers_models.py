"""Marigold and Lotus: tiny random ones, and planted answers for sign and range."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ppd_core.evaluation.baselines.cards import MODELS
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.baselines.lotus import Lotus, open_lotus
from ppd_core.evaluation.baselines.marigold import Marigold, open_marigold
from ppd_core.evaluation.model import ModelError

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

CPU = ModelOptions(torch.device("cpu"))
TEXT_WIDTH = 16


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )


def unet_of(in_channels, **changes):
    torch.manual_seed(1)
    return diffusers.UNet2DConditionModel(
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        **changes,
    )


def lotus_unet(in_channels):
    return unet_of(
        in_channels, class_embed_type="projection", projection_class_embeddings_input_dim=4
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=77
    )
    torch.manual_seed(2)
    encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=2,
            hidden_size=TEXT_WIDTH,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    return tokenizer, encoder.eval()


@pytest.fixture
def marigold_pipeline(vae, text):
    def build(prediction_type="depth"):
        return diffusers.MarigoldDepthPipeline(
            unet_of(8),
            vae,
            diffusers.DDIMScheduler(num_train_timesteps=10, prediction_type="v_prediction"),
            text[1],
            text[0],
            prediction_type=prediction_type,
            default_denoising_steps=2,
            default_processing_resolution=64,
        )

    return build


def test_marigold_answers_at_the_image_s_size_and_the_same_again(marigold_pipeline, image):
    model = Marigold(MODELS["marigold"], marigold_pipeline())
    depth = model(image).relative_depth
    assert depth.shape == (75, 101)
    assert 0 <= depth.min() < depth.max() <= 1
    assert torch.equal(model(image).relative_depth, depth)
    other = Marigold(MODELS["marigold"], marigold_pipeline(), seed=1)
    assert not torch.equal(other(image).relative_depth, depth)


def test_marigold_takes_steps_and_members_and_says_so(marigold_pipeline, image, monkeypatch):
    pipeline = marigold_pipeline()
    model = Marigold(MODELS["marigold"], pipeline, num_steps=1, ensemble_size=3)
    calls = []
    forward = pipeline.unet.forward
    monkeypatch.setattr(
        pipeline.unet, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    assert model(image).relative_depth.shape == (75, 101)
    assert len(calls) == 3
    assert model.name == "marigold-1steps-3members"
    with pytest.raises(ValueError, match="ensemble_size must be >= 1, got 0"):
        Marigold(MODELS["marigold"], pipeline, ensemble_size=0)


@pytest.mark.parametrize(("kind", "sign"), [("depth", 1), ("disparity", -1)])
def test_marigold_s_weights_say_which_way_is_near(
    kind, sign, marigold_pipeline, image, monkeypatch
):
    pipeline = marigold_pipeline(kind)
    # The network's own output runs from -1 at the top row to 1 at the last.
    monkeypatch.setattr(pipeline.vae, "decode", lambda latent, **_: (decoded_ramp(latent),))
    model = Marigold(MODELS["marigold"], pipeline)
    rows = model(image).relative_depth.mean(dim=1)
    assert model.space == kind
    assert (sign * rows.diff() >= 0).all()
    assert sign * (rows[-1] - rows[0]) > 0.9


def decoded_ramp(latent):
    rows = torch.linspace(-1, 1, 8 * latent.shape[-2])
    return rows[None, None, :, None].expand(1, 3, -1, 8 * latent.shape[-1])


@pytest.mark.parametrize(("name", "channels"), [("lotus-d", 4), ("lotus-g", 8)])
def test_lotus_answers_at_the_image_s_size_and_the_same_again(name, channels, vae, image):
    model = Lotus(
        MODELS[name], vae, lotus_unet(channels), torch.randn(1, 2, TEXT_WIDTH), resolution_px=64
    )
    depth = model(image).relative_depth
    assert depth.shape == (75, 101)
    assert -1 <= depth.min() < depth.max() <= 0
    assert torch.equal(model(image).relative_depth, depth)


def test_lotus_is_asked_once_for_an_annotation_and_near_is_small(vae, image, monkeypatch):
    unet = lotus_unet(4)
    asked = []

    def forward(sample, timestep, **inputs):
        asked.append((sample, timestep, inputs))
        return (sample,)

    monkeypatch.setattr(unet, "forward", forward)
    monkeypatch.setattr(vae, "decode", lambda latent, **_: (decoded_ramp(latent),))
    model = Lotus(MODELS["lotus-d"], vae, unet, torch.zeros(1, 2, TEXT_WIDTH), resolution_px=0)
    rows = model(image).relative_depth.mean(dim=1)  # the last row has the largest disparity
    assert (rows.diff() <= 0).all()
    assert rows[0] > -0.05
    assert rows[-1] < -0.95 + 5 / 80  # five rows of padding were cut off
    ((sample, timestep, inputs),) = asked
    assert sample.shape == (1, 4, 10, 13)
    assert timestep == 999
    expected = torch.tensor([[np.sin(1), 0, np.cos(1), 1]], dtype=torch.float32)
    torch.testing.assert_close(inputs["class_labels"], expected)


def test_lotus_is_loaded_from_its_parts(tmp_path, vae, text, image):
    unet = lotus_unet(4)
    for part, module in {
        "vae": vae,
        "unet": unet,
        "tokenizer": text[0],
        "text_encoder": text[1],
    }.items():
        module.save_pretrained(tmp_path / part)
    opened = open_lotus(MODELS["lotus-d"], ModelOptions(torch.device("cpu"), repo=tmp_path))
    with torch.no_grad():
        empty = text[1](torch.tensor([[0, 1]]))[0]
    expected = Lotus(MODELS["lotus-d"], vae, unet, empty)(image).relative_depth
    torch.testing.assert_close(opened(image).relative_depth, expected)


def test_marigold_is_loaded_from_a_folder(tmp_path, marigold_pipeline, image):
    pipeline = marigold_pipeline()
    pipeline.save_pretrained(tmp_path)
    options = ModelOptions(torch.device("cpu"), repo=tmp_path, num_steps=1)
    opened = open_marigold(MODELS["marigold"], options)
    expected = Marigold(MODELS["marigold"], pipeline, num_steps=1)(image).relative_depth
    torch.testing.assert_close(opened(image).relative_depth, expected)


@pytest.mark.parametrize(
    ("name", "open_model"), [("marigold", open_marigold), ("lotus-g", open_lotus)]
)
def test_weights_that_are_not_here_are_one_clear_sentence(name, open_model):
    with pytest.raises(ModelError, match=f"{name} could not be loaded from .*allow its download"):
        open_model(MODELS[name], CPU)
