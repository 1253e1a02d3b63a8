"""A row of the table: what one model, one data set and one protocol come to.

Every mean is one over the images that were measured, each image counting the same. What failed is
in no mean; how many those are stands beside it.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ppd_core.evaluation.records import Key, Record


@dataclass(frozen=True, eq=False)
class Row:
    """One row.

    Args:
        key: model, data set, protocol and settings.
        licence: of the model's weights.
        records: one for each image, in the data set's order.
    """

    key: Key
    licence: str
    records: Sequence[Record]

    @cached_property
    def measured(self) -> list[Record]:
        """The images that have figures."""
        return [record for record in self.records if record.failure is None]

    @cached_property
    def failed(self) -> list[Record]:
        """The images that have none."""
        return [record for record in self.records if record.failure is not None]

    @cached_property
    def failures(self) -> dict[str, int]:
        """Reason -> images, the most frequent first."""
        counts = Counter(record.failure for record in self.failed)
        return {str(reason): count for reason, count in counts.most_common()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Metric -> the measured images that it has a value for: some have no depth edge."""
        return {name: len(self.values(name)) for name in self._names}

    @cached_property
    def means(self) -> dict[str, float]:
        """Metric -> mean over `counts` images; NaN where that is 0."""
        return {name: _reduced(statistics.fmean, self.values(name)) for name in self._names}

    @property
    def model_s(self) -> float:
        """Median seconds of the model, an image; NaN without any."""
        return _reduced(statistics.median, [record.model_s for record in self.measured])

    @property
    def metrics_s(self) -> float:
        """Median seconds of alignment and metrics, an image."""
        return _reduced(statistics.median, [record.metrics_s for record in self.measured])

    def values(self, metric: str) -> list[float]:
        """Of the measured images, those that are numbers."""
        found = (record.figures.get(metric, math.nan) for record in self.measured)
        return [value for value in found if math.isfinite(value)]

    def by_metric(self, metric: str) -> list[Record]:
        """The measured images that it has a value for, the smallest first."""
        known = [r for r in self.measured if math.isfinite(r.figures.get(metric, math.nan))]
        return sorted(known, key=lambda record: record.figures[metric])

    @cached_property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for one in self.measured for name in one.figures))


def _reduced(mean: Callable[[list[float]], float], values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return mean(finite) if finite else math.nan


def summarise(key: Key, licence: str, names: Sequence[str], records: Mapping[str, Record]) -> Row:
    """The row of the images that are named, whatever else was measured before.

    Raises:
        ValueError: an image has no record; the message names the first one.
    """
    missing = [name for name in names if name not in records]
    if missing:
        raise ValueError(f"{len(missing)} images have no record, the first is {missing[0]}")
    return Row(key, licence, [records[name] for name in names])
