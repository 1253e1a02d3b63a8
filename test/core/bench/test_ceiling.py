from __future__ import annotations

import pytest
import torch

from ppd_core.bench import ceiling

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_ceiling_is_above_what_one_product_reaches(dtype, monkeypatch):
    monkeypatch.setattr(ceiling, "SIDES", (64, 128))
    assert 1e8 < ceiling.measured_ceiling(dtype, CPU) < 1e15


def test_the_fastest_size_counts_and_slow_ones_end_the_search(monkeypatch):
    seconds = {512: 1e-3, 1024: 2e-3, 2048: 0.1}
    monkeypatch.setattr(ceiling, "_product", lambda side, dtype, device: side)
    monkeypatch.setattr(ceiling, "_best_seconds", lambda side, device: seconds[side])
    # 4096 would take 0.8 s, and is not asked for.
    assert ceiling.measured_ceiling(torch.float32, CPU) == 2 * 1024**3 / 2e-3


def test_a_product_that_torch_does_not_have_has_no_ceiling(monkeypatch):
    def refuse(*_: object) -> None:
        raise NotImplementedError("not on this device")

    monkeypatch.setattr(ceiling, "_product", refuse)
    assert ceiling.measured_ceiling(torch.float8_e4m3fn, CPU) is None
