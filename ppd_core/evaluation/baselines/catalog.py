"""From a name to a model that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ppd_core.device import resolve_device
from ppd_core.evaluation.baselines.cards import MODELS, TWIN_SUFFIX, ModelCard, own_card
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.baselines.lotus import open_lotus
from ppd_core.evaluation.baselines.marigold import open_marigold
from ppd_core.evaluation.baselines.moge2_depth import open_moge2
from ppd_core.evaluation.baselines.own import open_own
from ppd_core.evaluation.baselines.sensor import open_sensor
from ppd_core.evaluation.baselines.transformers_models import open_transformers
from ppd_core.evaluation.baselines.vae_oracle import open_vae_oracle
from ppd_core.evaluation.baselines.vggt import open_vggt
from ppd_core.evaluation.model import DepthModel, Oracle, SensorModel

Model = DepthModel | SensorModel | Oracle

_FAMILIES: Mapping[str, Callable[[ModelCard, ModelOptions], Model]] = {
    "own": open_own,
    "transformers": open_transformers,
    "zoedepth": open_transformers,
    "prompt-depth-anything": open_transformers,
    "marigold": open_marigold,
    "lotus": open_lotus,
    "moge-2": open_moge2,
    "vggt": open_vggt,
    "vae": open_vae_oracle,
    "sensor": open_sensor,
}


_WITH_STEPS = ("own", "marigold")


def takes_steps(name_or_path: str | Path) -> bool:
    """Whether `num_steps` means something to a model; a path is one of ours."""
    name = str(name_or_path)
    card = MODELS.get(name)
    return card is None or (card.family in _WITH_STEPS and not name.endswith(TWIN_SUFFIX))


def open_model(
    name_or_path: str | Path,
    device: str | torch.device | None = None,
    *,
    dtype: torch.dtype | None = None,
    download: bool = False,
    repo: str | Path | None = None,
    weights_dir: str | Path | None = None,
    num_steps: int | None = None,
    ensemble_size: int | None = None,
    processing_area: int | None = None,
    backend: str | None = None,
    seed: int = 0,
) -> Model:
    """Open a model by its name in `MODELS`, or a checkpoint of ours by its path.

    `evaluation.model.predict` asks any of the three kinds.

    Args:
        name_or_path: a key of `MODELS`, or a file that `DepthPipeline.save_pretrained` wrote.
        device: default as in `DepthPipeline.from_pretrained`.
        dtype, download, repo, weights_dir, num_steps, ensemble_size, processing_area, backend,
            seed: see `ModelOptions`; nothing is downloaded unless `download` says so.

    Raises:
        ValueError: there is no such model, or it has no use for an option that is given.
        ModelError: its library or its weights are not here; the message says what to do.
    """
    name = str(name_or_path)
    card = MODELS.get(name)
    if card is None:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(
                f"unknown model {name!r}; known ones: {', '.join(MODELS)}; or give the path of a "
                "checkpoint file"
            )
        card = own_card(str(path))
    options = ModelOptions(
        device=resolve_device(device),
        dtype=dtype,
        download=download,
        repo=repo,
        weights_dir=weights_dir,
        num_steps=num_steps,
        ensemble_size=ensemble_size,
        processing_area=processing_area,
        backend=backend,
        seed=seed,
    )
    if card.family != "own":
        options.refuse(card.name, "backend")
    return _FAMILIES[card.family](card, options)
