"""What a batch costs: flow matching for SP-DiT, regression for the discriminative prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ppd_core.config import PromptConfig
from ppd_core.flow import T, interpolate, predict_x_0, velocity_target
from ppd_core.models.efficientnet_prompt import Mixture
from ppd_core.models.semantics import prepare_image
from ppd_core.training.config import TimestepConfig
from ppd_core.training.losses import gradient_loss, mixture_loss, velocity_loss
from ppd_core.training.targets import depth_target
from ppd_core.training.timesteps import draw_timesteps

MIN_TIME_SHARE = 0.05
"""t / T is no less than this where an error in x_0 is divided by it (arXiv 2511.13720)."""

Losses = dict[str, Tensor]
"""Name -> scalar; "loss" is what is minimised, the others are its parts."""


@dataclass(frozen=True)
class LossConfig:
    """How the error is measured; fields as in `TrainConfig`."""

    loss: str
    loss_space: str
    gradient_weight: float
    mixture_weight: float = 0.0


class Objective(Protocol):
    """What the loop minimises."""

    def losses(
        self, net: nn.Module, image: Tensor, depth: Tensor, times: TimestepConfig,
        generator: torch.Generator,
    ) -> Losses:  # fmt: skip
        """The cost of a batch under the network."""
        ...


def valid_pixels(depth: Tensor) -> Tensor:
    """Where a depth is known; bool, of the same shape.

    +inf, the sky, is known too: it is to be as far as the field goes.
    """
    return depth > 0  # False for NaN.


def masked_l1(predicted: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean absolute error over valid pixels; (B, 1, H, W) each; 0 when none is valid."""
    weight = valid_mask.to(predicted.dtype)
    return ((predicted - target).abs() * weight).sum() / (weight.sum() + 1e-6)


def _error(kind: str, predicted: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    loss = {"mse": velocity_loss, "l1": masked_l1}[kind]
    return loss(predicted, target, valid_mask)


def _total(config: LossConfig, main: Tensor, field: Tensor, x_0: Tensor, valid: Tensor) -> Losses:
    """`main`, and the gradients' error where it counts."""
    if config.gradient_weight == 0:
        return {"loss": main}
    gradients = gradient_loss(field, x_0, valid)
    return {
        "loss": main + config.gradient_weight * gradients,
        config.loss: main.detach(),
        "gradient": gradients.detach(),
    }


class PredictField(nn.Module):
    """The nano prompt's depth as a module's forward, as wrappers of modules need it.

    Args:
        prompt: with `predict_field`; with a mixture, with `predict_both`.
        has_mixture: ask for the mixture, too.
    """

    def __init__(self, prompt: nn.Module, has_mixture: bool = False) -> None:
        super().__init__()
        self.prompt = prompt
        self.has_mixture = has_mixture

    def forward(self, image: Tensor) -> tuple[Tensor, Mixture | None]:
        """(B, 3, h, w) in [0, 1] -> the field (B, 1, h, w), and the mixture if it has one."""
        predict = self.prompt.predict_both if self.has_mixture else self.prompt.predict_field
        assert callable(predict)
        return predict(image) if self.has_mixture else (predict(image), None)


@dataclass(frozen=True)
class RegressionObjective:
    """The field itself, in one step; the stand-in for Depth Anything V2."""

    config: LossConfig

    def losses(
        self, net: nn.Module, image: Tensor, depth: Tensor, times: TimestepConfig,
        generator: torch.Generator,
    ) -> Losses:  # fmt: skip
        """The cost of a batch.

        Args:
            net: a `PredictField`, perhaps wrapped.
            image: (B, 3, h, w) in [0, 1].
            depth: (B, 1, h, w) metres; NaN = not known, +inf = nothing there.
            times, generator: not needed here.
        """
        valid = valid_pixels(depth)
        x_0 = depth_target(depth, valid)
        field, mixture = net(image)
        field = field.float()
        error = _error(self.config.loss, field, x_0, valid)
        losses = _total(self.config, error, field, x_0, valid)
        if mixture is not None:
            surprise = mixture_loss(mixture, x_0, valid)
            losses["loss"] = losses["loss"] + self.config.mixture_weight * surprise
            losses["mixture"] = surprise.detach()
        return losses


@dataclass(frozen=True, eq=False)
class FlowObjective:
    """Flow matching under a frozen prompt.

    Attributes:
        prediction: what the network's output is, "velocity" or "x0".
        prompt: the frozen encoder, or None for a model without semantics.
    """

    config: LossConfig
    prediction: str
    prompt_config: PromptConfig
    prompt: nn.Module | None

    def losses(
        self, net: nn.Module, image: Tensor, depth: Tensor, times: TimestepConfig,
        generator: torch.Generator,
    ) -> Losses:  # fmt: skip
        """The cost of a batch.

        Args:
            net: an `SpDit`, perhaps wrapped.
            image: (B, 3, h, w) in [0, 1].
            depth: (B, 1, h, w) metres; NaN = not known, +inf = nothing there.
            times: which times are drawn.
            generator: of times and noise, on the batch's device.
        """
        valid = valid_pixels(depth)
        x_0 = depth_target(depth, valid)
        t = draw_timesteps(times, len(x_0), generator)
        noise = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        x_t = interpolate(x_0, noise, t)
        output = self.output(net, x_t, image, self.encode(image), t)

        target = x_0 if self.prediction == "x0" else velocity_target(x_0, noise)
        scale = self.error_scale(t)
        main = _error(self.config.loss, scale * output, scale * target, valid)
        return _total(self.config, main, self.field(x_t, output, t), x_0, valid)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor | None:
        """The semantic prompt of (B, 3, h, w) images in [0, 1], if the model has one."""
        if self.prompt is None:
            return None
        return self.prompt(prepare_image(self.prompt_config, image))

    def output(
        self, net: nn.Module, x_t: Tensor, image: Tensor, semantics: Tensor | None, t: Tensor
    ) -> Tensor:
        """The network's answer (B, 1, h, w), float32."""
        return net(torch.cat([x_t, image - 0.5], dim=1), semantics, t).float()

    def field(self, x_t: Tensor, output: Tensor, t: Tensor) -> Tensor:
        """The x_0 that the network's output stands for."""
        return output if self.prediction == "x0" else predict_x_0(x_t, output, t)

    def error_scale(self, t: Tensor) -> Tensor:
        """What makes an error of the loss's space of one of the network's; (B, 1, 1, 1).

        At a given x_t the two errors are `velocity = -x_0 T / t`, and losses are even.
        """
        share = (t / T).view(-1, 1, 1, 1)
        if self.prediction == self.config.loss_space:
            return torch.ones_like(share)
        return 1 / share.clamp(min=MIN_TIME_SHARE) if self.prediction == "x0" else share
