"""How an error is spread over the images of a data set, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

BINS = 24
_REACH_QUANTILE = 0.95
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 360, 130, 18, 18


@dataclass(frozen=True)
class Bins:
    """Equal bins from 0 to `end`; the last one has all that is above, too.

    Args:
        end: where they end, > 0.
        highest: the largest count of any histogram that shall compare.
    """

    end: float
    highest: int

    @classmethod
    def of(cls, samples: Sequence[Sequence[float]]) -> Bins:
        """Bins for several histograms of values >= 0, one scale for all.

        The bins end where nearly all values do, so that a few bad images do not press all others
        into the first bin.
        """
        values = np.concatenate([np.asarray(one, float) for one in samples] or [np.zeros(0)])
        reach = float(np.quantile(values, _REACH_QUANTILE)) if len(values) else 0.0
        end = _round_up(reach) if reach > 0 else 1.0
        bins = cls(end, 1)
        return cls(end, max([1, *(int(bins.counts(one).max()) for one in samples)]))

    def counts(self, values: Sequence[float]) -> np.ndarray:
        """(BINS,) how many values are in each."""
        held = np.minimum(np.asarray(values, float), np.nextafter(self.end, 0))
        return np.histogram(held, bins=BINS, range=(0, self.end))[0]


def histogram_svg(values: Sequence[float], bins: Bins, label: str) -> str:
    """One histogram, its mean marked; colours are the page's (`--bar`, `--ink`, `--faint`).

    Args:
        values: >= 0.
        bins: from `Bins.of` of all that it is to be compared with.
        label: of the picture, for those who do not see it.
    """
    counts, room = bins.counts(values), _HEIGHT - _TOP - _BOTTOM
    base, step = _HEIGHT - _BOTTOM, _WIDTH / BINS
    bars = []
    for index, count in enumerate(counts):
        tall = room * count / bins.highest
        low, high = (bins.end * edge / BINS for edge in (index, index + 1))
        is_last = index == BINS - 1
        span = f"{low:.3g} and more" if is_last else f"{low:.3g} to {high:.3g}"
        bars.append(
            f'<rect x="{index * step + 1:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}" rx="1.5"><title>{span}: {count} images</title></rect>'
        )
    words = _axis(bins) + _mean_mark(values, bins)
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}"><g class="bars">{"".join(bars)}</g>'
        f'<path class="base" d="M0 {base}H{_WIDTH}"/>{words}</svg>'
    )


def _axis(bins: Bins) -> str:
    marks = ((0.0, "start", "0"), (0.5, "middle", f"{bins.end / 2:g}"))
    words = [*marks, (1.0, "end", f"{bins.end:g} and more")]
    return "".join(
        f'<text x="{share * _WIDTH:g}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{text}</text>'
        for share, anchor, text in words
    )


def _mean_mark(values: Sequence[float], bins: Bins) -> str:
    if not len(values):
        return ""
    mean = math.fsum(values) / len(values)
    x = min(mean / bins.end, 1.0) * _WIDTH
    anchor, gap = ("end", -5) if x > _WIDTH / 2 else ("start", 5)
    return (
        f'<path class="mean" d="M{x:.1f} 4V{_HEIGHT - _BOTTOM}"/>'
        f'<text class="mean" x="{x + gap:.1f}" y="13" text-anchor="{anchor}">mean {mean:.3g}'
        "</text>"
    )


def _round_up(value: float) -> float:
    """To 1, 2, 2.5 or 5 times a power of ten, or 1.5, 3, 4, 6, 8 times."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return power * next(step for step in steps if step * power >= value * (1 - 1e-9))
