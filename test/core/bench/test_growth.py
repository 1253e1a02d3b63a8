from __future__ import annotations

import pytest

from ppd_core.bench.growth import fitted_exponent, fitted_slope


def test_a_power_law_and_a_line_are_found_exactly():
    assert fitted_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert fitted_slope([1, 2, 4], [12, 14, 18]) == pytest.approx(2)


def test_one_amount_tells_no_growth():
    with pytest.raises(ValueError, match=r"two amounts or more, got \[4\.0, 4\.0\]"):
        fitted_slope([4, 4], [1, 2])
