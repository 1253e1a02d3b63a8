from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ppd_core.pipeline import DepthPipeline
from ppd_core.training.optimizer import averaged_copy
from ppd_core.training.setup import build_training_models, export
from ppd_core.weights import WeightsError

SMALL = {"hidden_size": 32, "depth": 2, "num_heads": 2}


@pytest.fixture
def prompt_file(train_config, tmp_path: Path) -> Path:
    """What a regression run exports, its average being other weights than it started from."""
    config = train_config()
    models = build_training_models(config)
    average = averaged_copy(models.trained)
    for parameter in average.parameters():
        parameter.data += 0.25
    export(tmp_path / "prompt.safetensors", config, models, average)
    return tmp_path / "prompt.safetensors"


def test_the_same_seed_gives_the_same_weights(train_config) -> None:
    state = torch.random.get_rng_state()
    first, second, other = (
        build_training_models(train_config(seed=seed)).trained.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_flow_takes_the_prompt_that_a_regression_exports(
    train_config, prompt_file: Path
) -> None:
    config = train_config(objective="flow", model=SMALL, prompt_checkpoint=str(prompt_file))
    models = build_training_models(config)
    regression = build_training_models(train_config()).trained.state_dict()
    assert models.prompt is not None
    for name, value in models.prompt.state_dict().items():
        assert torch.equal(value, regression[name] + 0.25), name
    assert not any(parameter.requires_grad for parameter in models.prompt.parameters())
    assert all(parameter.requires_grad for parameter in models.trained.parameters())


def test_a_flow_exports_a_pipeline_with_the_average(
    train_config, prompt_file: Path, tmp_path: Path
) -> None:
    config = train_config(objective="flow", model=SMALL, prompt_checkpoint=str(prompt_file))
    models = build_training_models(config)
    average = averaged_copy(models.trained)
    average.t_embedder.mlp[0].bias.data.fill_(7.0)
    export(tmp_path / "pipeline.safetensors", config, models, average)
    pipeline = DepthPipeline.from_pretrained(tmp_path / "pipeline.safetensors", device="cpu")
    assert pipeline.is_trained
    assert pipeline.config == config.pipeline_config()
    assert (pipeline.models["dit"].t_embedder.mlp[0].bias == 7.0).all()


def test_init_checkpoint_is_where_training_starts(train_config, prompt_file: Path) -> None:
    before = prompt_file.read_bytes()
    models = build_training_models(train_config(init_checkpoint=str(prompt_file)))
    start = build_training_models(train_config()).trained.state_dict()
    for name, value in models.trained.state_dict().items():
        assert torch.equal(value, start[name] + 0.25), name
    with torch.no_grad():
        for parameter in models.trained.parameters():
            parameter.zero_()
    assert prompt_file.read_bytes() == before


def test_what_a_file_lacks_starts_as_without_one(
    train_config, prompt_file: Path, tmp_path: Path
) -> None:
    flow = {"objective": "flow", "prompt_checkpoint": str(prompt_file)}
    old_config = train_config(**flow, model=SMALL | {"has_fine_input": False})
    old = build_training_models(old_config)
    with torch.no_grad():
        for parameter in old.trained.parameters():
            parameter.normal_()
    path = tmp_path / "old.safetensors"
    export(path, old_config, old, averaged_copy(old.trained))
    new_config = train_config(
        **flow,
        model=SMALL | {"has_fine_input": True},
        init_checkpoint=str(path),
        init_without=["fine_embedder.", "proj_fusion.0."],
    )
    new = build_training_models(new_config).trained.state_dict()
    start = build_training_models(replace(new_config, init_checkpoint=None)).trained.state_dict()
    before = old.trained.state_dict()
    for name, value in new.items():
        is_own = name.startswith(new_config.init_without)
        assert torch.equal(value, (start if is_own else before)[name]), name


def test_a_flow_without_prompt_weights_is_refused(train_config) -> None:
    with pytest.raises(ValueError, match="needs prompt_checkpoint"):
        build_training_models(train_config(objective="flow", model=SMALL))


def test_a_plain_dit_needs_no_prompt(train_config) -> None:
    config = train_config(objective="flow", model=SMALL | {"has_semantics": False})
    assert build_training_models(config).prompt is None


def test_a_regression_needs_a_prompt_with_a_depth_head(train_config) -> None:
    with pytest.raises(ValueError, match="needs a prompt with a depth head, got kind 'dinov2'"):
        build_training_models(train_config(preset="tiny"))


def test_imagenet_s_weights_are_for_the_efficientnet_prompt_alone(train_config) -> None:
    config = train_config(
        objective="flow", model=SMALL | {"has_semantics": False}, init_checkpoint="imagenet"
    )
    with pytest.raises(ValueError, match="needs the regression of a prompt of kind efficientnet"):
        build_training_models(config)


def test_a_file_that_does_not_fit_is_refused(train_config, prompt_file: Path) -> None:
    config = train_config(
        objective="flow",
        model=SMALL,
        prompt_checkpoint=str(prompt_file),
        init_checkpoint=str(prompt_file),
    )
    with pytest.raises(WeightsError, match="do not fit SpDit"):
        build_training_models(config)
