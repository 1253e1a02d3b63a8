"""What a run tells: a line of JSON, TensorBoard and the console."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ppd_core.atomic_file import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

LOG_NAME = "log.jsonl"


class Journal:
    """Open while the run goes on; use it as a context.

    Args:
        output: the run's folder.
        step: the step that the run starts at; what a killed run logged after it is dropped.
        steps: the step that it ends at.
        is_main: False in the other processes of a distributed run, which tell nothing.
    """

    def __init__(self, output: Path, step: int, steps: int, is_main: bool) -> None:
        self.is_main = is_main
        self._log: IO[str] | None = None
        self._board: SummaryWriter | None = None
        self._bar: tqdm | None = None
        if not is_main:
            return
        path = output / LOG_NAME
        _keep_until(path, step)
        self._log = path.open("a")
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            self.tell("no TensorBoard here (pip install tensorboard); log.jsonl is written")
        else:
            self._board = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)
        if sys.stderr.isatty():
            self._bar = tqdm(total=steps, initial=step, unit="step", smoothing=0.05)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        # Each line is flushed as it is written; on a full disk only the rest of it is left.
        for file in (self._log, self._board):
            with suppress(OSError):
                if file:
                    file.close()
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def scalars(self, step: int, values: Mapping[str, float], group: str = "train") -> None:
        """Log figures of a step, under "train" or "validation"."""
        if not self.is_main or self._log is None:
            return
        line: dict[str, Any] = {"step": step, **values}
        if group != "train":
            line = {"step": step, group: dict(values)}
        try:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()
            if self._board:
                for name, value in values.items():
                    self._board.add_scalar(f"{group}/{name}", value, step)
        except OSError as error:
            raise OSError(f"the log in {self._log.name} cannot be written: {error}") from error
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.tell(f"step {step}  {'' if group == 'train' else group + ': '}{shown}")

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Log an (H, W, 3) uint8 RGB picture."""
        if self._board:
            self._board.add_image(name, picture, step, dataformats="HWC")

    def tell(self, text: str) -> None:
        """A line on the console."""
        if self.is_main:
            tqdm.write(text, file=sys.stderr)


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines after a step, and one that was cut off."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    with atomic_write(path) as stream:
        stream.write("".join(kept).encode())
