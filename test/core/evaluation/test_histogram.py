from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ppd_core.evaluation.histogram import BINS, Bins, histogram_svg


def test_every_value_is_in_a_bin_and_the_last_has_what_is_above():
    values = [*np.linspace(0, 1, 99), 50.0]
    bins = Bins.of([values])
    assert bins.end < 2
    counts = bins.counts(values)
    assert len(counts) == BINS and counts.sum() == 100
    assert bins.counts([50.0])[-1] == 1 and bins.counts([0.0])[0] == 1
    assert bins.highest == counts.max()


def test_several_histograms_have_one_scale():
    bins = Bins.of([[0.1] * 5, [0.2] * 9])
    assert bins.highest == 9 and bins.end >= 0.2


@pytest.mark.parametrize("samples", [[], [[]], [[0.0]], [[1e-9]]])
def test_hardly_any_value_is_no_trouble(samples: list[list[float]]):
    bins = Bins.of(samples)
    assert bins.end > 0
    for values in samples:
        ElementTree.fromstring(histogram_svg(values, bins, "none"))


def test_a_bar_is_as_tall_as_its_count_and_the_mean_is_marked():
    values = [0.01] * 4 + [0.5] * 2
    bins = Bins.of([values])
    svg = ElementTree.fromstring(histogram_svg(values, bins, "AbsRel of <nano>"))
    assert svg.get("aria-label") == "AbsRel of <nano>"
    heights = [float(bar.get("height")) for bar in svg.iter("rect")]
    assert sorted(heights)[-2] == pytest.approx(max(heights) / 2)
    assert "mean 0.173" in "".join(svg.itertext())
