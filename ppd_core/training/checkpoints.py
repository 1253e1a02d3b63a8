"""A run's checkpoints: folders that are complete or not there, the newest few of them kept.

`step-0001000/` holds the weights, their average, the optimizer's moments and `state.json`. It is
written under a hidden name, flushed to the disk, and then takes its name in one step, so whatever
ends the program, the last checkpoint stays as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn

from ppd_core.weights import WeightsError, read_checkpoint, save_checkpoint

_NAME = re.compile(r"step-(\d{7,})")
_MOMENTS = ("exp_avg", "exp_avg_sq")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or does not fit the run."""


def list_checkpoints(output: str | Path) -> list[Path]:
    """The complete checkpoints of a run, the newest last; unfinished ones are passed over."""
    found = (Path(output).iterdir()) if Path(output).is_dir() else ()
    return sorted(
        (path for path in found if _NAME.fullmatch(path.name) and path.is_dir()), key=step_of
    )


def step_of(path: Path) -> int:
    """The step that a checkpoint was written after."""
    return int(path.name.removeprefix("step-"))


def write_checkpoint(
    output: str | Path, step: int, fill: Callable[[Path], None], keep: int
) -> Path:
    """Write a checkpoint and remove those that are too old.

    Args:
        output: the run's folder.
        step: how many steps are done.
        fill: writes the files into the folder that it is given.
        keep: how many of the newest stay.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: the disk is full, read-only or broken; earlier checkpoints are intact.
    """
    output = Path(output)
    path = output / f"step-{step:07d}"
    unfinished = output / f".{path.name}.{uuid4().hex[:8]}.part"
    try:
        # What an earlier run left when it was killed while writing or removing.
        for old in output.glob(".step-*.part"):
            shutil.rmtree(old)
        unfinished.mkdir()
        fill(unfinished)
        for file in unfinished.iterdir():
            _flush(file)
        _flush(unfinished)
        if path.exists():
            _remove(path)
        unfinished.rename(path)
        _flush(output)
    except (OSError, WeightsError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        kept = list_checkpoints(output)
        last = f"the last one is {kept[-1]}" if kept else "there is none yet"
        raise CheckpointError(f"checkpoint {path} cannot be written ({error}); {last}") from error
    for old in list_checkpoints(output)[:-keep]:
        _remove(old)
    return path


def publish(file: Path, path: Path) -> None:
    """Let `path` be that file of a checkpoint, too, in one step; the disk holds it once.

    Raises:
        CheckpointError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        try:
            os.link(file, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(file, temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    # Renamed first: half a folder must not be taken for a checkpoint.
    hidden = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def save_training_state(
    folder: Path,
    trained: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Write all that a run goes on from; `state` is what JSON can hold."""
    save_checkpoint(folder / "weights.safetensors", trained.state_dict(), {})
    save_checkpoint(folder / "average.safetensors", average.state_dict(), {})
    moments = {
        f"{kind}/{name}": optimizer.state[parameter][kind]
        for name, parameter in trained.named_parameters()
        for kind in _MOMENTS
        if optimizer.state.get(parameter)  # A head that the loss leaves out has none.
    }
    save_checkpoint(folder / "optimizer.safetensors", moments, {})
    (folder / "state.json").write_text(json.dumps(state, indent=1))


def load_training_state(
    folder: Path, trained: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The inverse of `save_training_state`; fills the modules and the optimizer in place.

    Raises:
        CheckpointError: the checkpoint is damaged or of another model.
    """
    try:
        state = json.loads((folder / "state.json").read_text())
        _fill(trained, folder / "weights.safetensors")
        _fill(average, folder / "average.safetensors")
        moments, _ = read_checkpoint(folder / "optimizer.safetensors")
        for name, parameter in trained.named_parameters():
            if not any(f"{kind}/{name}" in moments for kind in _MOMENTS):
                continue
            optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"]), device=parameter.device)
            } | {kind: _like(moments[f"{kind}/{name}"], parameter) for kind in _MOMENTS}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"checkpoint {folder} cannot be loaded: {reason}") from error
    return state


def _fill(module: nn.Module, path: Path) -> None:
    tensors, _ = read_checkpoint(path)
    module.load_state_dict(tensors)  # copies: the tensors map the file


def _like(moment: Tensor, parameter: Tensor) -> Tensor:
    if moment.shape != parameter.shape:
        raise ValueError(f"a moment must be {tuple(parameter.shape)}, got {tuple(moment.shape)}")
    return moment.to(parameter.device, copy=True)
