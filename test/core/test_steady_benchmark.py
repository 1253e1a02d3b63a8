"""The benchmark of the tie between frames on a few of them: what it writes, what must hold."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("av", reason="videos need PyAV, extra 'video'")


def test_it_writes_every_figure_and_the_tables(run_on_clips):
    script, figures, text = run_on_clips("steady", scenes=1, moving=3, static=3)
    for name in script.METHODS:
        for unit in script.UNITS:
            keys = [key for key in script.COLUMNS if unit == "metres" or key != "error_change"]
            assert all(figures[f"{name}.{unit}.{key}"] > 0 for key in keys)
    assert all(figures[f"ms.{name}"] > 0 for name in script.MILLISECONDS)
    # Log depth of the range is relative depth stretched, and invalid where that is far below 0.
    stretched = script.alignment_from_range(script.NEAR_M, script.FAR_M).scale
    ratio = figures["alone.metres.static_flicker"] / figures["alone.relative.static_flicker"]
    assert 0.3 * stretched < ratio < 1.01 * stretched
    assert text.startswith("before\n<!--")
    assert "old" not in text
    assert not re.search(r"\bnan\b", text)  # The command may name nano.
