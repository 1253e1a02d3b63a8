"""The state of a run, one step of it, and its way to the disk and back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ppd_core.training.augment import image_tensor
from ppd_core.training.batches import Batch, BatchMaker, batch_loader
from ppd_core.training.checkpoints import (
    load_training_state,
    publish,
    save_training_state,
    write_checkpoint,
)
from ppd_core.training.config import TrainConfig
from ppd_core.training.objectives import Losses
from ppd_core.training.optimizer import (
    averaged_copy,
    build_optimizer,
    learning_rate,
    set_learning_rate,
    update_average,
)
from ppd_core.training.setup import EXPORT_NAMES, build_training_models, export
from ppd_core.training.surfaces import SurfaceObjective

_NOISE = 1
"""Third word of the seed of times and noise; 0 is augmentation's."""


class TrainingError(RuntimeError):
    """A run cannot start or go on; one clear sentence."""


class Run:
    """Networks, their average, the optimizer, and how far they are.

    Args:
        config: of the run.
        output: its folder.
        accelerator: the device, and the other processes.
    """

    def __init__(self, config: TrainConfig, output: Path, accelerator: Accelerator) -> None:
        self.config, self.output, self.accelerator = config, output, accelerator
        self.models = build_training_models(config)
        self.models.net.to(accelerator.device)
        if self.models.prompt is not None:
            self.models.prompt.to(accelerator.device)
        self.average = averaged_copy(self.models.trained)
        self.net = accelerator.prepare_model(self.models.net)
        self.optimizer = build_optimizer(self.models.trained, config.optimizer)
        self.parameters = list(self.models.trained.parameters())
        self.step = 0
        self.lr = 0.0
        self.places: dict[int, tuple[int, int]] = {}
        self.sums: dict[str, Tensor] = {}
        self.start_window()

    def batches(self, stop_step: int) -> Generator[Batch | str, None, None]:
        """The batches from here to a step; close it, or its workers keep the program alive."""
        accelerator, accumulation = self.accelerator, self.config.optimizer.accumulation
        maker = BatchMaker(
            self.config, accelerator.process_index, accelerator.num_processes, self.places
        )
        first, last = self.step * accumulation, stop_step * accumulation
        # A generator holds the loader's iterator alone, so that closing it ends the workers, even
        # while the traceback of an error holds everything else.
        return _each(iter(batch_loader(maker, first, last, accelerator.device.type == "cuda")))

    def autocast(self) -> torch.autocast:
        """The precision that networks run in."""
        is_bf16 = self.config.mixed_precision == "bf16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=is_bf16)

    def _attention(self) -> contextlib.AbstractContextManager[None]:
        """How attention is computed: on a CPU without blocks.

        The few tokens of the images that a CPU can train on fit into one, and the blocked kernel
        made the nano prompt at 96 x 64 a sixth slower.
        """
        is_cpu = self.accelerator.device.type == "cpu"
        return sdpa_kernel(SDPBackend.MATH) if is_cpu else contextlib.nullcontext()

    def train_step(self, batches: Iterator[Batch | str]) -> None:
        """One step of the optimizer."""
        settings = self.config.optimizer
        self.lr = learning_rate(settings, self.step, self.config.steps)
        set_learning_rate(self.optimizer, self.lr)
        for part in range(settings.accumulation):
            is_last = part == settings.accumulation - 1
            with contextlib.nullcontext() if is_last else self.accelerator.no_sync(self.net):
                self._accumulate(batches, self.step * settings.accumulation + part)
        limit = math.inf if settings.clip_norm is None else settings.clip_norm
        self._add("grad_norm", torch.nn.utils.clip_grad_norm_(self.parameters, limit), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        update_average(self.average, self.models.trained, settings.ema_decay, self.step)
        self.step += 1

    def _accumulate(self, batches: Iterator[Batch | str], index: int) -> None:
        """Add the gradients of batch `index`."""
        device, share = self.accelerator.device, 1 / self.config.optimizer.accumulation
        start_s = time.perf_counter()
        batch = next(batches)
        self._waited_s += time.perf_counter() - start_s
        if isinstance(batch, str):
            raise TrainingError(batch)
        with self.autocast(), self._attention():
            losses = self._losses(
                {
                    name: one.to(device, non_blocking=True)
                    for name, one in batch["samples"].items()
                },
                index,
            )
        self.accelerator.backward(losses["loss"] * share)
        for name, value in losses.items():
            self._add(name, value, share)
        self.places = batch["places"]
        count = len(next(iter(batch["samples"].values())))
        self._samples += count * self.accelerator.num_processes

    def _losses(self, samples: dict[str, Tensor], index: int) -> Losses:
        """The cost of batch `index`."""
        objective = self.models.objective
        if isinstance(objective, SurfaceObjective):
            return objective.losses(self.net, samples)
        image = image_tensor(samples["image"], self.accelerator.device)
        times = self.config.phase_at(self.step).timesteps or self.config.timesteps
        return objective.losses(self.net, image, samples["depth"], times, self._generator(index))

    def _generator(self, index: int) -> torch.Generator:
        """Of times and noise of batch `index`; nothing that happened before can change it."""
        words = [self.config.seed, self.accelerator.process_index, _NOISE, index]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
        return torch.Generator(self.accelerator.device).manual_seed(seed)

    def _add(self, name: str, value: Tensor, share: float) -> None:
        # Kept on the device: to read it each step would make the program wait for a GPU.
        value = value.detach().double() * share
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def start_window(self) -> None:
        """Start the clock of the next line of the log."""
        self._start_s, self._waited_s, self._samples = time.perf_counter(), 0.0, 0

    def pause(self, seconds: float) -> None:
        """Leave that time out of the rate."""
        self._start_s += seconds

    def end_window(self) -> dict[str, float]:
        """Means over the steps since the last line and over all processes, and start anew."""
        sums = gather_object([self._finite_sums()])
        count = self.config.log_every * len(sums)
        means = {name: sum(one[name] for one in sums) / count for name in sums[0]}
        elapsed_s = time.perf_counter() - self._start_s
        means |= {
            "lr": self.lr,
            "samples_per_s": self._samples / elapsed_s,
            "data_wait_share": self._waited_s / elapsed_s,
        }
        self.sums = {}
        self.start_window()
        return means

    def _finite_sums(self) -> dict[str, float]:
        sums = {name: float(total) for name, total in self.sums.items()}
        if not math.isfinite(sums.get("loss", 0.0)):
            raise TrainingError(
                f"the loss must be finite, got {sums['loss']} up to step {self.step}: a lower "
                "lr, a longer warm-up or clip_norm may help"
            )
        return sums

    def largest(self, number: int) -> int:
        """The largest of what the processes give; all must ask."""
        if self.accelerator.num_processes == 1:
            return number
        return max(gather_object([number]))

    def save(self) -> None:
        """Write a checkpoint, and let the run's folder have its model.

        Raises:
            CheckpointError: it cannot be written.
            TrainingError: the loss is not finite, so neither are the weights.
        """
        own = {"places": self.places, "sums": self._finite_sums()}
        processes = gather_object([own])
        error: list[Exception | None] = [None]
        if self.accelerator.is_main_process:
            try:
                self._write({"step": self.step, "processes": processes})
            except RuntimeError as problem:
                error = [problem]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(error)  # All end together; else the others would wait forever.
        if error[0] is not None:
            raise error[0]

    def _write(self, state: dict[str, Any]) -> None:
        state["config"] = plain(self.config)
        name, keep = EXPORT_NAMES[self.config.objective], self.config.checkpoints.keep

        def fill(folder: Path) -> None:
            save_training_state(folder, self.models.trained, self.average, self.optimizer, state)
            export(folder / name, self.config, self.models, self.average)

        path = write_checkpoint(self.output, self.step, fill, keep)
        publish(path / name, self.output / name)

    def load(self, checkpoint: Path) -> list[str]:
        """Go on from a checkpoint.

        Returns:
            What is different in the config since: "optimizer.lr: 0.001 -> 0.0005".

        Raises:
            CheckpointError: it is damaged, or of another model.
            TrainingError: it is of another number of processes.
        """
        state = load_training_state(checkpoint, self.models.trained, self.average, self.optimizer)
        count = self.accelerator.num_processes
        if len(state["processes"]) != count:
            raise TrainingError(
                f"{checkpoint} is of a run of {len(state['processes'])} processes, got {count}"
            )
        own = state["processes"][self.accelerator.process_index]
        self.step = state["step"]
        self.places = {int(key): (epoch, done) for key, (epoch, done) in own["places"].items()}
        self.sums = {
            name: torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
            for name, value in own["sums"].items()
        }
        before, now = _flat(state["config"]), _flat(plain(self.config))
        keys = [key for key in before | now if before.get(key) != now.get(key)]
        return [f"{key}: {before.get(key)} -> {now.get(key)}" for key in keys]


def _each(batches: Iterator[Batch | str]) -> Generator[Batch | str, None, None]:
    yield from batches


def plain(config: TrainConfig) -> dict[str, Any]:
    """The config as JSON holds it."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by dots."""
    if not isinstance(values, dict):
        return {key: values}
    return {
        inner: value
        for name, one in values.items()
        for inner, value in _flat(one, f"{key}.{name}" if key else name).items()
    }
