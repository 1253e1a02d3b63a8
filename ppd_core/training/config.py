"""What a training run is: frozen, self-checking dataclasses, read from YAML by `config_file`.

Every error names the field, what was wanted and what came. The defaults are the paper's where it
has one (arXiv 2510.07316), else plain choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ppd_core.config import (
    COARSE_PATCH_PX,
    PipelineConfig,
    PreprocessConfig,
    PromptConfig,
    SamplerConfig,
    SpDitConfig,
    preset,
)
from ppd_core.flow import timestep_grid
from ppd_core.training.checks import (
    require,
    require_above,
    require_at_least,
    require_choice,
    require_share,
    require_size,
)
from ppd_core.training.data_config import AugmentConfig, DataConfig, SourceConfig

OBJECTIVES = ("flow", "regression", "surfaces")


@dataclass(frozen=True)
class TimestepConfig:
    """Which times the network is trained at.

    Args:
        mean, std: of the normal whose sigmoid, times T, is t.
        share_at_noise: share of the samples set to t = T, where there is nothing but noise.
        grid_steps: draw the others from the sampler's own grid of so many steps instead.

    Source: logit-normal times, arXiv 2403.03206; (0, 1) as in PPD.
    """

    mean: float = 0.0
    std: float = 1.0
    share_at_noise: float = 0.0
    grid_steps: int | None = None

    def __post_init__(self) -> None:
        require_at_least(self, 0, "std")
        require_share(self, "share_at_noise")
        if self.grid_steps is not None:
            timestep_grid(self.grid_steps)


@dataclass(frozen=True)
class PhaseConfig:
    """What is different until a step; None = as in the config itself.

    Args:
        until_step: the first step that no longer belongs to this phase.
        size, batch_size: as in `DataConfig`.
        timesteps: as in `TrainConfig`.
    """

    until_step: int
    size: tuple[int, int] | None = None
    batch_size: int | None = None
    timesteps: TimestepConfig | None = None

    def __post_init__(self) -> None:
        require_at_least(self, 1, "until_step")
        require_size("phases.size", self.size, COARSE_PATCH_PX)
        if self.batch_size is not None:
            require_at_least(self, 1, "batch_size")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, the learning rate over the steps, clipping, and the average of weights.

    Args:
        lr: after the warm-up.
        betas, eps: AdamW's.
        weight_decay: on matrices and kernels; never on norms, biases and other vectors.
        lr_scales: what the rate is multiplied with for parameters whose names begin so, e.g.
            `encoder.: 0.15`.
        schedule: "cosine" falls to the floor at the last step, "constant" stays at `lr`.
        warmup_steps: linear rise from 0.
        decay_steps: with "constant", how many of the last steps fall to the floor like a cosine.
            So a run can go on for as long as there is time, and then be ended.
        floor: least rate, as a share of `lr`.
        clip_norm: greatest norm of the gradient; None = no limit.
        ema_decay: of the average of weights, reached by `min(decay, (1 + n) / (10 + n))`.
        accumulation: forward passes whose gradients make one step.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    lr_scales: Mapping[str, float] = field(default_factory=dict)
    schedule: str = "constant"
    warmup_steps: int = 0
    decay_steps: int = 0
    floor: float = 0.0
    clip_norm: float | None = None
    ema_decay: float = 0.999
    accumulation: int = 1

    def __post_init__(self) -> None:
        require_above(self, 0, "lr", "eps")
        require_at_least(self, 0, "weight_decay", "warmup_steps", "decay_steps")
        for prefix, scale in self.lr_scales.items():
            require(scale > 0, f"lr_scales.{prefix} must be above 0, got {scale}")
        require_at_least(self, 1, "accumulation")
        require_choice(self, "schedule", ("cosine", "constant"))
        require_share(self, "floor")
        for name, value in (("betas", max(self.betas)), ("ema_decay", self.ema_decay)):
            require(0 <= value < 1, f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.clip_norm is not None:
            require_above(self, 0, "clip_norm")


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run is saved.

    Args:
        every: steps between checkpoints; one more is written at the end.
        keep: how many of the newest stay.
    """

    every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        require_at_least(self, 1, "every", "keep")


@dataclass(frozen=True)
class ValidationConfig:
    """What is measured while training, on frames that are never trained on.

    Args:
        sources: held-out frames; none = no validation.
        frames: how many of them.
        every: steps between validations; one more is made at the end.
        batch_size: frames in one forward pass.
        num_steps: Euler steps; None = the model's own.
        pictures: how many frames are drawn for TensorBoard.
    """

    sources: tuple[SourceConfig, ...] = ()
    frames: int = 64
    every: int = 1000
    batch_size: int = 16
    num_steps: int | None = None
    pictures: int = 4

    def __post_init__(self) -> None:
        require_at_least(self, 1, "frames", "every", "batch_size")
        require_at_least(self, 0, "pictures")
        if self.num_steps is not None:
            timestep_grid(self.num_steps)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run.

    Args:
        objective: "flow" trains SP-DiT under a frozen prompt, "regression" the nano prompt,
            "surfaces" the network that chooses among a sensor's and the preset's depths.
        steps: optimizer steps of the whole run.
        data: where frames come from.
        preset: the model, a name in `ppd_core.config.PRESETS`.
        model, prompt: what is different from the preset's `SpDitConfig` and `PromptConfig`.
        prompt_checkpoint: (flow) the frozen prompt's weights: a file that a regression run or
            `save_pretrained` wrote, or a published file's name.
        init_checkpoint: weights to start from instead of random ones: a file that a run of the
            same objective exported; or (regression) "imagenet", the encoder's alone, of the
            package that the training extra brings.
        init_without: beginnings of the names that such a file is not asked for: of parts that are
            new, or of another shape, and start as without a file.
        gate_init: (flow) where the residuals' gates start; 0 is adaLN-Zero.
        loss: "mse" or "l1" over valid pixels; the regression is "l1" as a rule.
        loss_space: (flow) "velocity" or "x0": where the error is measured, whichever of the two
            the network predicts.
        gradient_weight: of the 4-scale gradient loss on the field.
        mixture_weight: (regression) of the mixture head's negative log likelihood; 0 leaves that
            head as it is.
        timesteps: (flow) which times are trained at.
        phases: what is different in the beginning, e.g. smaller images.
        optimizer, checkpoints, validation: see there.
        mixed_precision: "bf16" or "no".
        seed: of weights, data order, augmentation, noise and times.
        log_every: steps between lines of the log.
        output: folder of the run; the command line may name another.
    """

    objective: str
    steps: int
    data: DataConfig
    preset: str = "nano"
    model: Mapping[str, Any] = field(default_factory=dict)
    prompt: Mapping[str, Any] = field(default_factory=dict)
    prompt_checkpoint: str | None = None
    init_checkpoint: str | None = None
    init_without: tuple[str, ...] = ()
    gate_init: float = 0.0
    loss: str = "mse"
    loss_space: str = "velocity"
    gradient_weight: float = 0.0
    mixture_weight: float = 0.0
    timesteps: TimestepConfig = field(default_factory=TimestepConfig)
    phases: tuple[PhaseConfig, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    mixed_precision: str = "bf16"
    seed: int = 0
    log_every: int = 50
    output: str | None = None

    def __post_init__(self) -> None:
        require_choice(self, "objective", OBJECTIVES)
        require_choice(self, "loss", ("mse", "l1"))
        require_choice(self, "loss_space", ("velocity", "x0"))
        require_choice(self, "mixed_precision", ("bf16", "no"))
        require_at_least(self, 1, "steps", "log_every")
        require_at_least(self, 0, "gradient_weight", "mixture_weight", "seed")
        require(math.isfinite(self.gate_init), f"gate_init must be finite, got {self.gate_init}")
        ends = [phase.until_step for phase in self.phases]
        require(
            ends == sorted(set(ends)) and all(end < self.steps for end in ends),
            f"phases.until_step must rise and stay under steps = {self.steps}, got {ends}",
        )
        self.pipeline_config()

    def pipeline_config(self) -> PipelineConfig:
        """The model: the preset with what `model` and `prompt` change, at the training size."""
        base = preset(self.preset)
        height, width = self.data.size
        return replace(
            base,
            model=_changed(base.model, self.model, "model"),
            prompt=_changed(base.prompt, self.prompt, "prompt"),
            preprocess=PreprocessConfig(processing_area=height * width),
            sampler=SamplerConfig(
                num_steps=self.validation.num_steps or base.sampler.num_steps,
                noise_seed=base.sampler.noise_seed,
            ),
            weights=(),
        )

    def phase_at(self, step: int) -> PhaseConfig:
        """The phase that holds at a step, complete: nothing in it is None."""
        found = next((p for p in self.phases if step < p.until_step), None)
        phase = found or PhaseConfig(until_step=self.steps)
        return replace(
            phase,
            size=phase.size or self.data.size,
            batch_size=phase.batch_size or self.data.batch_size,
            timesteps=phase.timesteps or self.timesteps,
        )


def _changed(
    base: SpDitConfig | PromptConfig, changes: Mapping[str, Any], key: str
) -> Any:  # the type of `base`
    known = base.__dataclass_fields__
    unknown = sorted(set(changes) - set(known))
    require(not unknown, f"{key} has no field {', '.join(unknown)}; there are {', '.join(known)}")
    return replace(base, **changes)


__all__ = [
    "OBJECTIVES",
    "AugmentConfig",
    "CheckpointConfig",
    "DataConfig",
    "OptimizerConfig",
    "PhaseConfig",
    "SourceConfig",
    "TimestepConfig",
    "TrainConfig",
    "ValidationConfig",
]
