"""One model over one data set: every image once through it, measured by each protocol."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ppd_core.data.eval_samples import EvalSet
from ppd_core.evaluation.measure import AnyModel, measure_image
from ppd_core.evaluation.protocols import AlignmentProtocol
from ppd_core.evaluation.ranks import Ranks
from ppd_core.evaluation.records import Key, Record, RecordFile, read_records
from ppd_core.evaluation.summary import Row, summarise

PATIENCE_S = 900.0
"""How long the first process waits for another one's next image before it gives up."""
_POLL_S = 1.0


@dataclass(frozen=True, eq=False)
class Task:
    """A model, a data set, and the protocols to measure the one on the other by.

    Args:
        model: what is measured.
        data: on what.
        protocols: name -> protocol.
        keys: protocol's name -> what its figures depend on.
        limit: only the first images of the data set; None = all.

    Raises:
        ValueError: a protocol has no key, or the limit is < 1.
    """

    model: AnyModel
    data: EvalSet
    protocols: Mapping[str, AlignmentProtocol]
    keys: Mapping[str, Key]
    limit: int | None = None

    def __post_init__(self) -> None:
        if set(self.protocols) != set(self.keys):
            raise ValueError(f"keys must be of {set(self.protocols)}, got {set(self.keys)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be >= 1, got {self.limit}")

    def names(self) -> list[str]:
        """The images, in the data set's order.

        Raises:
            ValueError: there is none, or two have one name.
        """
        names = list(self.data.names())[: self.limit]
        if not names:
            raise ValueError(f"data set {self.data.name} is empty: there is nothing to measure")
        if len(set(names)) < len(names):
            raise ValueError(f"data set {self.data.name} has several images of one name")
        return names


def evaluate(task: Task, output: Path, ranks: Ranks | None = None) -> list[Row]:
    """Measure what has not been measured yet, each image as soon as it is done on disk.

    An image that failed in an earlier run is tried again. With several processes each does its
    share, and the first one waits for the others.

    Args:
        task: what to measure.
        output: the folder of the evaluation; the processes share it.
        ranks: which process this is; default the only one.

    Returns:
        A row for each protocol; none in the processes that are not the first.

    Raises:
        ValueError: the data set is empty, or the folder cannot be used.
        TimeoutError: another process wrote nothing for too long.
    """
    ranks = ranks or Ranks()
    names = task.names()
    _measure_share(task, output, ranks, names)
    if not ranks.is_main:
        return []
    rows = []
    for key in task.keys.values():
        records = (
            _all_records(output, key, names) if ranks.world > 1 else read_records(output, key)
        )
        rows.append(summarise(key, task.model.licence, names, records))
    return rows


def _measure_share(task: Task, output: Path, ranks: Ranks, names: Sequence[str]) -> None:
    with ExitStack() as stack:
        files = {
            protocol: stack.enter_context(RecordFile(output, key, ranks.rank, ranks.world))
            for protocol, key in task.keys.items()
        }
        done = {
            protocol: _measured(read_records(output, task.keys[protocol])) for protocol in files
        }
        share = ranks.share(list(enumerate(names)))
        title = f"{task.model.name} on {task.data.name}"
        for index, name in tqdm(share, desc=title, unit="image", disable=_is_quiet(ranks)):
            left = {key: one for key, one in task.protocols.items() if name not in done[key]}
            if not left:
                continue
            read = partial(task.data.__getitem__, index)
            for protocol, record in measure_image(task.model, left, name, read).items():
                files[protocol].append(record)


def _measured(records: Mapping[str, Record]) -> set[str]:
    return {name for name, record in records.items() if record.failure is None}


def _all_records(
    output: Path,
    key: Key,
    names: Sequence[str],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Record]:
    """Read until the other processes have written theirs."""
    known, changed_s = -1, -math.inf
    while True:
        records = read_records(output, key)
        if all(name in records for name in names):
            return records
        if len(records) > known:
            known, changed_s = len(records), clock()
        if clock() - changed_s > patience_s:
            raise TimeoutError(
                f"the other processes wrote nothing for {patience_s:g} s, and {len(names)} images "
                f"need a record where {len(records)} have one: start again to go on"
            )
        wait(_POLL_S)


def _is_quiet(ranks: Ranks) -> bool:
    return not (ranks.is_main and sys.stderr.isatty())
