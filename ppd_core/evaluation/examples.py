"""The best and the worst images of a row, drawn."""

from __future__ import annotations

from ppd_core.evaluation.failures import ImageFailure
from ppd_core.evaluation.measure import align, estimate
from ppd_core.evaluation.pictures import draw
from ppd_core.evaluation.records import Record
from ppd_core.evaluation.report_html import SHOWN_METRIC, Example
from ppd_core.evaluation.run import Task
from ppd_core.evaluation.summary import Row


def draw_examples(task: Task, row: Row, count: int) -> list[Example]:
    """Estimate a row's extremes once more, since depths are not kept, and draw them.

    Args:
        task: what the row was measured by.
        row: of that task.
        count: of the best ones, and of the worst ones.

    Returns:
        The best first, each image once; less than 2 `count` where there are not so many, or where
        one cannot be had again.
    """
    names = task.names()
    examples = []
    for kind, record in _chosen(row, count):
        try:
            sample = task.data[names.index(record.name)]
            found = estimate(task.model, sample)
            predicted = align(task.protocols[row.key.protocol], found)
        except (ImageFailure, ValueError, OSError):
            continue
        pictures = draw(
            sample.image,
            sample.depth,
            found.valid_mask.cpu().numpy(),
            predicted.cpu().numpy(),
            sample.intrinsics,
        )
        examples.append(Example(kind, record.name, record.figures[SHOWN_METRIC], pictures))
    return examples


def _chosen(row: Row, count: int) -> list[tuple[str, Record]]:
    """Each image once: of an odd number that is short, one more is among the best."""
    ordered = row.by_metric(SHOWN_METRIC)
    best = ordered[: min(count, (len(ordered) + 1) // 2)]
    worst = ordered[len(best) :][-count:] if count else []
    return [("best", one) for one in best] + [("worst", one) for one in worst]
