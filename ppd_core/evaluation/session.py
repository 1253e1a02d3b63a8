"""An evaluation: models by data sets by protocols, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ppd_core.atomic_file import atomic_write
from ppd_core.bench.report import command, hardware, versions
from ppd_core.data.eval_samples import EvalSet
from ppd_core.evaluation import table
from ppd_core.evaluation.examples import draw_examples
from ppd_core.evaluation.fingerprint import weights_digest
from ppd_core.evaluation.measure import AnyModel
from ppd_core.evaluation.model import ModelError
from ppd_core.evaluation.protocols import OWN_PROTOCOL, PROTOCOLS
from ppd_core.evaluation.ranks import Ranks
from ppd_core.evaluation.records import Key
from ppd_core.evaluation.report_html import Example, Section, as_html
from ppd_core.evaluation.run import Task, evaluate
from ppd_core.evaluation.summary import Row
from ppd_core.version import __version__

CSV_NAME, JSON_NAME, HTML_NAME = "table.csv", "report.json", "report.html"


@dataclass(frozen=True, eq=False)
class Source:
    """A data set that was opened.

    Args:
        data: the set.
        root: the folder or file that it lies in.
        notes: what a reader of its figures must know, a sentence each.
    """

    data: EvalSet
    root: Path
    notes: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Of its part of the report."""
        return f"{self.data.name}, {self.data.split}"

    def about(self, limit: int | None) -> str:
        """Where it is from, on what terms, and how much of it is measured."""
        total = len(self.data)
        count = f"{total} images" if limit is None else f"The first {min(limit, total)} of {total}"
        page = f" {self.data.page}" if self.data.page else ""
        return f"{count} in {self.root}. Licence: {self.data.licence}.{page}"


@dataclass(frozen=True, eq=False)
class Plan:
    """What to evaluate.

    Args:
        models: name -> what opens it; one is open at a time.
        sources: the data sets.
        protocols: names of `PROTOCOLS`; empty = of each model the one that it is published with.
        limit: only the first images of each data set.
        pictures: best images, and worst ones, that are drawn of each row.

    Raises:
        ValueError: nothing to measure, an unknown protocol, or a number out of range.
    """

    models: Mapping[str, Callable[[], AnyModel]]
    sources: Sequence[Source]
    protocols: Sequence[str] = ()
    limit: int | None = None
    pictures: int = 2

    def __post_init__(self) -> None:
        if not self.models or not self.sources:
            raise ValueError("an evaluation needs a model and a data set at least")
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be >= 1, got {self.limit}")
        if self.pictures < 0:
            raise ValueError(f"pictures must be >= 0, got {self.pictures}")


@dataclass(eq=False)
class Outcome:
    """What came of it.

    Attributes:
        rows: by source, in the order of the models.
        examples: for each row its pictures.
        problems: models that could not be had, a sentence each.
    """

    rows: list[list[Row]] = field(default_factory=list)
    examples: list[list[list[Example]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def all_rows(self) -> list[Row]:
        """Of all sources."""
        return [row for rows in self.rows for row in rows]


def evaluate_all(plan: Plan, output: Path, ranks: Ranks, say: Callable[[str], None]) -> Outcome:
    """Measure every model on every data set, and write the report where this is the main process.

    A model that cannot be opened is said so, and the others are measured.

    Args:
        plan: what to evaluate.
        output: folder of records and report.
        ranks: which process this is.
        say: takes a line for the user.

    Raises:
        ValueError: a data set is empty, or the folder cannot be written to.
        TimeoutError: another process wrote nothing for too long.
    """
    outcome = Outcome([[] for _ in plan.sources], [[] for _ in plan.sources])
    for name, open_one in plan.models.items():
        try:
            model = open_one()
        except (ModelError, ValueError, ImportError) as error:
            outcome.problems.append(f"{name} is not measured: {' '.join(str(error).split())}")
            say(outcome.problems[-1])
            continue
        weights = weights_digest(model)
        for index, source in enumerate(plan.sources):
            task = _task(plan, model, weights, source)
            rows = evaluate(task, output, ranks)
            outcome.rows[index] += rows
            outcome.examples[index] += [draw_examples(task, row, plan.pictures) for row in rows]
    if ranks.is_main and outcome.all_rows:
        _write(plan, outcome, output)
    return outcome


def _task(plan: Plan, model: AnyModel, weights: str, source: Source) -> Task:
    names = plan.protocols or [OWN_PROTOCOL[model.space]]
    key = Key(
        model.name,
        weights,
        f"{source.data.name} {source.data.split}",
        str(source.root.resolve()),
        "",
        dict(getattr(model, "settings", {})),
        __version__,
    )
    keys = {name: Key(**{**vars(key), "protocol": name}) for name in names}
    protocols = {name: PROTOCOLS[name] for name in names}
    return Task(model, source.data, protocols, keys, plan.limit)


def _write(plan: Plan, outcome: Outcome, output: Path) -> None:
    facts = {"command": command(), "versions": versions(), "hardware": hardware()}
    rows = outcome.all_rows
    sections = [
        Section(
            source.title,
            source.about(plan.limit),
            own_rows,
            own_examples,
            [*_protocol_notes(own_rows), *source.notes, *outcome.problems],
        )
        for source, own_rows, own_examples in zip(
            plan.sources, outcome.rows, outcome.examples, strict=True
        )
    ]
    report = table.as_json(rows, facts) | {"problems": outcome.problems}
    told = {**facts, "weights": "\n".join(dict.fromkeys(map(_provenance, rows)))}
    texts = {
        CSV_NAME: table.as_csv(rows),
        JSON_NAME: json.dumps(report, indent=2, allow_nan=False) + "\n",
        HTML_NAME: as_html(sections, told),
    }
    for name, text in texts.items():
        with atomic_write(output / name) as stream:
            stream.write(text.encode())


def _provenance(row: Row) -> str:
    return f"{row.key.model}: {row.key.weights}, licence {row.licence}"


def _protocol_notes(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(row.key.protocol for row in rows)
    return [
        f"Fitted to the truth by protocol {name}: {PROTOCOLS[name].summary}." for name in names
    ]
