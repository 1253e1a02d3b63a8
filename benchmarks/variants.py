"""What the ablation compares: the paper's claims as changes of one config."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ppd_core.training.config import PhaseConfig, TrainConfig
from ppd_core.training.config_file import load_config


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        name: of its figures, `<name>.absrel`.
        title: what the table calls it.
        changes: of the flow's config.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()


FLOW_VARIANTS = (
    Variant(
        "plain_dit",
        "(a) plain DiT in pixels",
        ("model.has_semantics=false", "model.has_cascade=false", "prompt_checkpoint=null"),
    ),
    Variant("prompt", "(b) + semantic prompt", ("model.has_cascade=false",)),
    Variant("cascade", "(c) + cascade"),
    Variant("cascade_coarse", "(c) without fine input", ("model.has_fine_input=false",)),
    Variant("cascade_velocity", "(c), predicting velocity", ("model.prediction=velocity",)),
)
TWIN = Variant("twin", "(d) discriminative twin")
VAE = Variant("vae", "(e) truth through a VAE")
TRUTH = Variant("truth", "truth as the training target has it")
VARIANTS = (*FLOW_VARIANTS, TWIN, VAE, TRUTH)


@dataclass(frozen=True)
class Plan:
    """What all variants have in common.

    Args:
        flow_config, twin_config: YAML files.
        data: folder of training shards; None = as in the configs.
        steps: of every run; None = each config's own.
        changes: of both configs, key=value.
    """

    flow_config: Path
    twin_config: Path
    data: Path | None = None
    steps: int | None = None
    changes: tuple[str, ...] = ()

    def twin(self) -> TrainConfig:
        """The regression, which makes the prompt, too."""
        return self._load(self.twin_config, ())

    def flow(self, variant: Variant, prompt: Path) -> TrainConfig:
        """One of the diffusion models, under the prompt in that file."""
        # No start from a trained file: it would be a budget of its own, and fit one variant only.
        first = (f"prompt_checkpoint={prompt}", "init_checkpoint=null")
        return self._load(self.flow_config, (*first, *variant.changes))

    def processing_area(self) -> int:
        """Pixels at model size."""
        return self._load(self.flow_config, ()).pipeline_config().preprocess.processing_area

    def _load(self, path: Path, changes: tuple[str, ...]) -> TrainConfig:
        # Every variant is measured at the end, by one and the same measure.
        common = ["validation.sources=[]"]
        if self.data is not None:
            common.append(f"data.sources=[{{urls: {self.data}}}]")
        config = load_config(path, [*common, *self.changes, *changes])
        return config if self.steps is None else with_steps(config, self.steps)


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The config for another number of steps; its phases, warm-up and decay in proportion."""
    share = steps / config.steps

    def scaled(phase: PhaseConfig) -> PhaseConfig:
        return dataclasses.replace(phase, until_step=max(1, round(phase.until_step * share)))

    ends = ("warmup_steps", "decay_steps")
    lengths = {name: round(getattr(config.optimizer, name) * share) for name in ends}
    return dataclasses.replace(
        config,
        steps=steps,
        phases=tuple(map(scaled, config.phases)),
        optimizer=dataclasses.replace(config.optimizer, **lengths),
    )
