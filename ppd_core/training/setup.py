"""From a config to the networks of a run, and from those to the file that users load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ppd_core import weights
from ppd_core.alignment.hypotheses import FEATURES, NAMES
from ppd_core.config import PipelineConfig, config_to_json
from ppd_core.models.efficientnet import EfficientNetLite0
from ppd_core.models.semantics import build_encoder
from ppd_core.models.sp_dit import SpDit
from ppd_core.models.surface_net import SurfaceNet, SurfaceNetConfig
from ppd_core.training.config import TrainConfig
from ppd_core.training.imagenet import load_imagenet
from ppd_core.training.init import init_sp_dit
from ppd_core.training.objectives import (
    FlowObjective,
    LossConfig,
    Objective,
    PredictField,
    RegressionObjective,
)
from ppd_core.training.surfaces import SurfaceObjective

EXPORT_NAMES = {
    "flow": "pipeline.safetensors",
    "regression": "prompt.safetensors",
    "surfaces": "surfaces.safetensors",
}
"""Objective -> the file that a run exports."""
TRAINED_PREFIX = {"flow": "dit.", "regression": "semantics.", "surfaces": "surfaces."}
"""Objective -> what the trained network's keys begin with in that file."""
IMAGENET = "imagenet"
"""Instead of a file that training starts from: the encoder as ImageNet left it."""


@dataclass(frozen=True, eq=False)
class TrainingModels:
    """The networks of a run.

    Attributes:
        pipeline_config: of the model that is made.
        trained: the network whose weights are trained, kept and exported.
        net: what the objective calls: `trained`, or a wrapper around it.
        prompt: the frozen encoder; None where there is none.
        objective: what is minimised.
    """

    pipeline_config: PipelineConfig
    trained: nn.Module
    net: nn.Module
    prompt: nn.Module | None
    objective: Objective | SurfaceObjective


def build_training_models(config: TrainConfig) -> TrainingModels:
    """Build the networks, the trained one drawn from the config's seed or from its file.

    Raises:
        ValueError: the objective and the model do not go together.
        WeightsError: a checkpoint cannot be read or does not fit.
    """
    pipeline_config = config.pipeline_config()
    loss = LossConfig(
        config.loss, config.loss_space, config.gradient_weight, config.mixture_weight
    )
    # CPU alone, and only inside: the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(config.seed)
        if config.objective == "regression":
            models = _regression(pipeline_config, loss)
        elif config.objective == "surfaces":
            net = SurfaceNet(SurfaceNetConfig(FEATURES, len(NAMES)))
            models = TrainingModels(pipeline_config, net, net, None, SurfaceObjective())
        else:
            models = _flow(config, pipeline_config, loss)
    if config.init_checkpoint == IMAGENET:
        load_imagenet(_encoder(models.trained))
    elif config.init_checkpoint is not None:
        tensors, _ = weights.read_checkpoint(config.init_checkpoint, dtype=torch.float32)
        prefix = TRAINED_PREFIX[config.objective]
        own = tuple(prefix + name for name in config.init_without)
        # Clones: the tensors map the file, and training would write into it.
        chosen = {
            key: value.clone()
            for key, value in tensors.items()
            if key.startswith(prefix) and not key.startswith(own)
        }
        for name, value in models.trained.state_dict().items():
            if name.startswith(config.init_without):
                chosen[prefix + name] = value
        weights.load_strict(models.trained, chosen, strip_prefix=prefix)
    models.trained.train().requires_grad_(True)
    return models


def _regression(config: PipelineConfig, loss: LossConfig) -> TrainingModels:
    prompt = build_encoder(config.prompt)
    if not hasattr(prompt, "predict_field"):
        raise ValueError(
            f"objective regression needs a prompt with a depth head, got kind "
            f"{config.prompt.kind!r}; efficientnet has one"
        )
    net = PredictField(prompt, has_mixture=loss.mixture_weight > 0)
    return TrainingModels(config, prompt, net, None, RegressionObjective(loss))


def _encoder(prompt: nn.Module) -> EfficientNetLite0:
    encoder = getattr(prompt, "encoder", None)
    if not isinstance(encoder, EfficientNetLite0):
        raise ValueError(
            f"init_checkpoint: {IMAGENET} needs the regression of a prompt of kind efficientnet, "
            f"got {type(prompt).__name__}"
        )
    return encoder


def _flow(
    config: TrainConfig, pipeline_config: PipelineConfig, loss: LossConfig
) -> TrainingModels:
    model = pipeline_config.model
    dit = SpDit(model)
    init_sp_dit(dit, config.gate_init)
    prompt = None
    if model.has_semantics:
        if config.prompt_checkpoint is None:
            raise ValueError(
                "objective flow needs prompt_checkpoint, the weights of the frozen prompt, got "
                "none; only a model with has_semantics: false does without"
            )
        prompt = _frozen_prompt(pipeline_config, config.prompt_checkpoint)
    objective = FlowObjective(loss, model.prediction, pipeline_config.prompt, prompt)
    return TrainingModels(pipeline_config, dit, dit, prompt, objective)


def _frozen_prompt(config: PipelineConfig, name_or_path: str) -> nn.Module:
    with torch.device("meta"):
        prompt = build_encoder(config.prompt)
    if name_or_path in weights.REGISTRY:
        weights.load_published(name_or_path, prompt, download=True, dtype=torch.float32)
    else:
        tensors, _ = weights.read_checkpoint(name_or_path, dtype=torch.float32)
        weights.load_strict(prompt, tensors, strip_prefix="semantics.", ignored_prefixes=("dit.",))
    return prompt.eval().requires_grad_(False)


def export(path: Path, config: TrainConfig, models: TrainingModels, average: nn.Module) -> None:
    """Write the average of weights as what users load.

    A flow run writes a pipeline that `DepthPipeline.from_pretrained` reads; a regression run the
    prompt alone, for `prompt_checkpoint`.

    Raises:
        WeightsError: the file cannot be written.
    """
    tensors = _prefixed(TRAINED_PREFIX[config.objective], average.state_dict())
    if models.prompt is not None:
        tensors |= _prefixed("semantics.", models.prompt.state_dict())
    metadata = {
        "ppd_config": config_to_json(models.pipeline_config),
        "is_trained": "true",
        "objective": config.objective,
    }
    weights.save_checkpoint(path, tensors, metadata)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}
