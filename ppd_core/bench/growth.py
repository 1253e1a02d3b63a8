"""How cost grows: with pixels as a power, with steps and images by so much each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fitted_exponent(amounts: Sequence[float], costs: Sequence[float]) -> float:
    """p of the power law `cost = c amount^p`, by least squares of the logarithms.

    Example: costs 3, 12, 48 at 1, 2, 4 are of exponent 2.
    """
    return _slope(np.log(amounts), np.log(costs))


def fitted_slope(amounts: Sequence[float], costs: Sequence[float]) -> float:
    """m of `cost = m amount + c`, by least squares: what one more costs.

    Example: costs 12, 14, 18 at 1, 2, 4 are 2 each.
    """
    return _slope(np.asarray(amounts, float), np.asarray(costs, float))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    if len(np.unique(x)) < 2:
        raise ValueError(f"growth needs two amounts or more, got {x.tolist()}")
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))
