"""What the adapters share: the libraries that keep the models, and the hub that holds them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.model import ModelError

Built = TypeVar("Built")


@dataclass(frozen=True)
class ModelOptions:
    """How a model is to be opened; what is None is as its authors publish it.

    Args:
        device: where it runs.
        dtype: of its weights. None is the pipeline's default for our own, and float32 for
            rivals: bfloat16 has 128 depths between one power of two and the next, and what that
            costs a model that was published otherwise is not its fault.
        download: fetch from the hub what is missing; else its absence is an error.
        repo: a folder, or another repository of the hub, to take its files from.
        weights_dir: where our own published files are; see `weights.weights_dir`.
        num_steps: network evaluations of a diffusion model.
        ensemble_size: predictions that are made one of; of Marigold alone.
        processing_area: pixels at model size, of our own pipelines alone.
        backend: how the networks are run, of our own pipelines alone.
        seed: of all noise.
    """

    device: torch.device
    dtype: torch.dtype | None = None
    download: bool = False
    repo: str | Path | None = None
    weights_dir: str | Path | None = None
    num_steps: int | None = None
    ensemble_size: int | None = None
    processing_area: int | None = None
    backend: str | None = None
    seed: int = 0

    def refuse(self, name: str, *unused: str) -> None:
        """Say which of these options a model has no use for.

        Raises:
            ValueError: one of them is given.
        """
        given = [option for option in unused if getattr(self, option) is not None]
        if given:
            raise ValueError(f"{name} has no {' or '.join(given)}")


def require(module: str, model: str) -> ModuleType:
    """Import what a rival is kept in.

    Raises:
        ModelError: it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ModelError(
            f"{model} needs the library {module}: pip install 'ppd_ros[eval]'"
        ) from error


def from_hub(
    card: ModelCard, options: ModelOptions, load: Callable[..., Built], **arguments: Any
) -> Built:
    """Call a library's own `from_pretrained`, from the hub only when asked.

    Raises:
        ModelError: it could not; the message says where the files are to be had.
    """
    repo = str(options.repo or card.hub_repo)
    try:
        return load(repo, local_files_only=not options.download, token=False, **arguments)
    # Of the hub's client and what is below it, each version has errors of its own.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        how = "" if options.download or options.repo else ", or allow its download"
        raise ModelError(
            f"{card.name} could not be loaded from {repo} ({reason}): get it from "
            f"{card.page_url} (licence {card.licence_text}){how}"
        ) from error
