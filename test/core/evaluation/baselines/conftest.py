from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """(75, 101, 3): no side is a multiple of anything."""
    return np.random.default_rng(0).integers(0, 256, (75, 101, 3), dtype=np.uint8)
