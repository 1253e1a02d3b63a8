"""`ppd depth`, as its tests run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ppd_core import DepthPipeline
from ppd_core.cli import main


@pytest.fixture(scope="session")
def tiny() -> DepthPipeline:
    return DepthPipeline.from_pretrained("tiny", device="cpu")


@pytest.fixture
def ppd_depth(
    tiny: DepthPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., int]:
    """`ppd depth WORDS -o out` in an empty folder, with the model built once for all tests."""
    monkeypatch.setattr(DepthPipeline, "from_pretrained", lambda *args, **options: tiny)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["depth", "--processing-area", "1024", "-o", "out", *words])
