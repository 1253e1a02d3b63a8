from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ppd_core.config import PromptConfig
from ppd_core.flow import T, velocity_from_x_0
from ppd_core.models.efficientnet_prompt import Mixture
from ppd_core.training.config import TimestepConfig
from ppd_core.training.objectives import (
    MIN_TIME_SHARE,
    FlowObjective,
    LossConfig,
    PredictField,
    RegressionObjective,
    masked_l1,
    valid_pixels,
)
from ppd_core.training.targets import depth_target

PROMPT = PromptConfig(kind="efficientnet", size="lite0")


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    depth = 1 + 5 * torch.rand(3, 1, 16, 16, generator=generator)
    depth[:, :, 0, 0] = torch.nan
    depth[:, :, 0, 1] = torch.inf
    return torch.rand(3, 3, 16, 16, generator=generator), depth


def field_of(depth: Tensor) -> Tensor:
    return depth_target(depth, valid_pixels(depth))


class Oracle(nn.Module):
    """Knows x_0, and answers it with an error added."""

    def __init__(self, x_0: Tensor, prediction: str, error: float = 0.0) -> None:
        super().__init__()
        self.x_0, self.prediction, self.error = x_0, prediction, error

    def forward(self, x: Tensor, semantics: Tensor | None, t: Tensor) -> Tensor:
        if self.prediction == "x0":
            return self.x_0 + self.error
        return velocity_from_x_0(x[:, :1], self.x_0, t) + self.error


def flow_loss(
    prediction: str,
    *,
    space: str,
    error: float,
    kind: str = "mse",
    time: float = 0.5,
    gradient_weight: float = 0.0,
) -> float:
    """The loss of an oracle that is wrong by `error`, all times being `time` T."""
    image, depth = batch()
    config = LossConfig(loss=kind, loss_space=space, gradient_weight=gradient_weight)
    objective = FlowObjective(config, prediction, PROMPT, None)
    net = Oracle(field_of(depth), prediction, error)
    mean = float(torch.logit(torch.tensor(time)))
    generator = torch.Generator().manual_seed(1)
    times = TimestepConfig(mean=mean, std=0.0)
    return float(objective.losses(net, image, depth, times, generator)["loss"])


def test_valid_is_what_is_known_with_the_sky() -> None:
    depth = torch.tensor([1.0, torch.nan, torch.inf, 0.0, -1.0, 90.0])
    assert valid_pixels(depth).tolist() == [True, False, True, False, False, True]


def test_masked_l1_counts_valid_pixels_alone() -> None:
    predicted, target = torch.tensor([1.0, 5.0, 9.0]), torch.tensor([0.0, 2.0, 0.0])
    mask = torch.tensor([True, True, False])
    assert float(masked_l1(predicted, target, mask)) == pytest.approx(2.0)
    assert float(masked_l1(predicted, target, mask & False)) == 0


@pytest.mark.parametrize("prediction", ["velocity", "x0"])
@pytest.mark.parametrize("space", ["velocity", "x0"])
def test_the_truth_costs_nothing(prediction: str, space: str) -> None:
    loss = flow_loss(prediction, space=space, error=0.0, gradient_weight=0.2)
    assert loss == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("prediction", "space", "time", "scale"),
    [
        ("x0", "x0", 0.25, 1.0),
        ("velocity", "velocity", 0.25, 1.0),
        ("x0", "velocity", 0.25, 4.0),
        ("velocity", "x0", 0.25, 0.25),
        ("x0", "velocity", 0.01, 1 / MIN_TIME_SHARE),
    ],
)
def test_an_error_is_measured_in_the_space_of_the_loss(
    prediction: str, space: str, time: float, scale: float
) -> None:
    mse = flow_loss(prediction, space=space, error=0.3, time=time)
    l1 = flow_loss(prediction, space=space, error=-0.3, time=time, kind="l1")
    assert mse == pytest.approx((0.3 * scale) ** 2, rel=1e-4)
    assert l1 == pytest.approx(0.3 * scale, rel=1e-4)


def test_spaces_agree_between_predictions() -> None:
    # The same error of the field, told as velocity: -e T / t.
    as_x_0 = flow_loss("x0", space="velocity", error=0.1, time=0.4)
    as_velocity = flow_loss("velocity", space="velocity", error=-0.1 / 0.4, time=0.4)
    assert as_x_0 == pytest.approx(as_velocity, rel=1e-4)


def test_parts_of_the_loss_are_told() -> None:
    image, depth = batch()
    objective = RegressionObjective(LossConfig("l1", "x0", gradient_weight=0.5))
    field = field_of(depth)
    field[..., 8:] += 0.2
    losses = objective.losses(
        PredictField(_Fixed(field)), image, depth, TimestepConfig(), torch.Generator()
    )
    assert float(losses["l1"]) == pytest.approx(0.1, abs=0.005)
    assert float(losses["gradient"]) > 0
    expected = losses["l1"] + 0.5 * losses["gradient"]
    assert float(losses["loss"]) == pytest.approx(float(expected))


def test_the_mixture_costs_its_weight_beside_the_field() -> None:
    image, depth = batch()
    field = field_of(depth)
    objective = RegressionObjective(LossConfig("l1", "x0", 0.0, mixture_weight=0.5))
    net = PredictField(_Fixed(field), has_mixture=True)
    losses = objective.losses(net, image, depth, TimestepConfig(), torch.Generator())
    assert float(losses["mixture"]) == pytest.approx(math.log(2 * 0.1), rel=1e-3)
    assert float(losses["loss"]) == pytest.approx(0.5 * math.log(2 * 0.1), rel=1e-3)


class _Fixed(nn.Module):
    def __init__(self, field: Tensor) -> None:
        super().__init__()
        self.field = field

    def predict_both(self, image: Tensor) -> tuple[Tensor, Mixture]:
        one = torch.ones_like(self.field)
        return self.field, Mixture(0 * one, self.field, 0.1 * one)

    def predict_field(self, image: Tensor) -> Tensor:
        return self.field


class _Recorder(nn.Module):
    """Keeps what it was asked, and answers 0."""

    def forward(self, x: Tensor, semantics: Tensor | None, t: Tensor) -> Tensor:
        self.x, self.semantics, self.t = x, semantics, t
        return torch.zeros_like(x[:, :1])


class _Prompt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.weight * image.mean((1, 2, 3))[:, None, None]


def test_the_network_is_asked_as_the_paper_has_it() -> None:
    image, depth = batch()
    net = _Recorder()
    objective = FlowObjective(LossConfig("mse", "velocity", 0.0), "velocity", PROMPT, _Prompt())
    times = TimestepConfig(share_at_noise=1.0)
    objective.losses(net, image, depth, times, torch.Generator().manual_seed(3))
    assert (net.t == T).all()
    assert torch.equal(net.x[:, 1:], image - 0.5)
    assert abs(float(net.x[:, 0].mean())) < 0.2 and float(net.x[:, 0].std()) == pytest.approx(
        1, abs=0.1
    )
    assert net.semantics is not None and not net.semantics.requires_grad


def test_noise_and_times_are_the_generators() -> None:
    image, depth = batch()
    asked = []
    for seed in (5, 5, 6):
        net = _Recorder()
        objective = FlowObjective(LossConfig("mse", "velocity", 0.0), "velocity", PROMPT, None)
        generator = torch.Generator().manual_seed(seed)
        objective.losses(net, image, depth, TimestepConfig(), generator)
        asked.append(net.x)
    assert torch.equal(asked[0], asked[1])
    assert not torch.equal(asked[0], asked[2])
