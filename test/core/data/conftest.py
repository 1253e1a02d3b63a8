from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

RED = (200, 30, 10)  # RGB


@pytest.fixture(scope="session")
def write_red() -> Callable[..., Path]:
    """Writes a picture that is red all over: (path, height, width)."""

    def write(path: Path, height: int, width: int) -> Path:
        image = np.full((height, width, 3), RED[::-1], np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        done, encoded = cv2.imencode(path.suffix.lower(), image)
        assert done
        path.write_bytes(encoded.tobytes())
        return path

    return write


@pytest.fixture(scope="session")
def assert_red() -> Callable[..., None]:
    """Fails unless an image is red all over, and RGB."""

    def check(image: np.ndarray, tolerance: int = 0) -> None:
        assert image.dtype == np.uint8
        assert image.flags["C_CONTIGUOUS"]
        assert np.abs(image.astype(int) - RED).max() <= tolerance

    return check


@pytest.fixture(scope="session")
def write_png16() -> Callable[[Path, np.ndarray], Path]:
    """Writes a 16-bit grey PNG: (path, values)."""

    def write(path: Path, values: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), values.astype(np.uint16))
        return path

    return write
