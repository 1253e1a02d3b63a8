from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ppd_core.config import preset
from ppd_core.models.efficientnet_prompt import Mixture
from ppd_core.training.objectives import (
    FlowObjective,
    LossConfig,
    RegressionObjective,
    valid_pixels,
)
from ppd_core.training.setup import TrainingModels
from ppd_core.training.targets import depth_target
from ppd_core.training.validation import Validator

LOSS = LossConfig("mse", "x0", 0.0)


class _Tokens(nn.Module):
    """A prompt that tells one image from another."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((1, 2, 3))[:, None, None]


def validator(
    train_config: Any, shards: Any, objective: Any, net: nn.Module, **changes: Any
) -> Validator:
    validation = {"sources": [{"urls": str(shards)}], "frames": 6, "batch_size": 4, "pictures": 2}
    config = train_config(validation=validation, **changes)
    pipeline = replace(preset("nano"))
    models = TrainingModels(pipeline, net, net, getattr(objective, "prompt", None), objective)
    return Validator(config, models, torch.device("cpu"))


def truth_by_image(validator: Validator) -> dict[float, Tensor]:
    """Mean of an image -> its field."""
    validator.run(_Answer(lambda image, semantics, t: torch.rand_like(image[:, :1])))
    return {
        float(image.mean()): depth_target(depth, valid_pixels(depth))[0]
        for images, depths in validator._batches()
        for image, depth in zip(images[:, None], depths[:, None], strict=True)
    }


class _Answer(nn.Module):
    """A network, of either objective, made of a function."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, semantics: Tensor | None, t: Tensor) -> Tensor:
        return self.answer(x[:, 1:] + 0.5, semantics, t)

    def predict_field(self, image: Tensor) -> Tensor:
        return self.answer(image, None, None)


class _Mixed(nn.Module):
    """Knows the field, and has a worthless component that is less probable, or more."""

    def __init__(self, truth: dict[float, Tensor], worthless_weight: float) -> None:
        super().__init__()
        self.truth = truth
        self.weight = torch.tensor([worthless_weight, 1 - worthless_weight]).view(1, 2, 1, 1)

    def predict_both(self, image: Tensor) -> tuple[Tensor, Mixture]:
        field = knowing(self.truth, image.mean((1, 2, 3)))
        location = torch.cat([torch.rand_like(field), field], dim=1)
        log_weight = self.weight.log().expand_as(location)
        return field, Mixture(log_weight, location, torch.ones_like(location))


def knowing(truth: dict[float, Tensor], means: Tensor) -> Tensor:
    keys = torch.tensor(list(truth))
    nearest = (keys[None] - means[:, None]).abs().argmin(1)
    return torch.stack([truth[list(truth)[int(index)]] for index in nearest])


@pytest.mark.parametrize(("worthless_weight", "is_right"), [(0.4, True), (0.6, False)])
def test_a_mixture_is_measured_at_its_most_probable_component(
    train_config, shards, worthless_weight: float, is_right: bool
) -> None:
    objective = RegressionObjective(replace(LOSS, mixture_weight=0.1))
    truth = truth_by_image(validator(train_config, shards, objective, nn.Identity()))
    measured = validator(train_config, shards, objective, nn.Identity(), mixture_weight=0.1)
    figures, _ = measured.run(_Mixed(truth, worthless_weight))
    assert figures["absrel"] < 0.02
    assert (figures["mixture_absrel"] < 0.02) == is_right


def test_a_regression_that_knows_is_right(train_config, shards) -> None:
    measured = validator(train_config, shards, RegressionObjective(LOSS), nn.Identity())
    truth = truth_by_image(measured)
    figures, pictures = measured.run(
        _Answer(lambda image, *_: knowing(truth, image.mean((1, 2, 3))))
    )
    # The field is clamped at the 2 % and 98 % quantiles' ends, so nearly 0.
    assert figures["absrel"] == pytest.approx(0, abs=0.02)
    assert figures["delta1"] == pytest.approx(1, abs=0.01)
    assert set(pictures) == {"validation/0", "validation/1"}
    assert pictures["validation/0"].shape == (32, 3 * 48, 3)
    assert pictures["validation/0"].dtype == np.uint8


@pytest.mark.parametrize(
    ("condition", "worse"),
    [
        ("none", set()),
        ("prompt", {"x0_error_other_prompt", "x0_error_other_both"}),
        ("image", {"x0_error_other_image", "x0_error_other_both"}),
    ],
)
def test_it_shows_which_condition_a_flow_looks_at(
    train_config, shards, condition: str, worse: set[str]
) -> None:
    objective = FlowObjective(LOSS, "x0", preset("nano").prompt, _Tokens())
    measured = validator(train_config, shards, objective, nn.Identity())
    truth = truth_by_image(measured)

    def answer(image: Tensor, semantics: Tensor, t: Tensor) -> Tensor:
        if condition == "none":
            return torch.rand(1, generator=torch.Generator().manual_seed(0)).expand(
                len(image), 1, 32, 48
            ) + 0.01 * torch.arange(48)
        means = semantics[:, 0, 0] if condition == "prompt" else image.mean((1, 2, 3))
        return knowing(truth, means)

    figures, _ = measured.run(_Answer(answer))
    others = {"x0_error_other_prompt", "x0_error_other_image", "x0_error_other_both"}
    for name in others:
        if name in worse:
            assert figures[name] > figures["x0_error"] + 0.02
        else:
            assert figures[name] == figures["x0_error"]
    if condition != "none":
        assert figures["x0_error"] == pytest.approx(0, abs=1e-6)
        assert figures["absrel"] == pytest.approx(0, abs=0.02)
