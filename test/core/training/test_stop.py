from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ppd_core.training import stop
from ppd_core.training.stop import StopSignals

ALONE: Any = SimpleNamespace(num_processes=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_kept_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in stop.SIGNALS]
    with StopSignals(ALONE) as signals:
        assert signals.received() == 0
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)  # at once again, as `timeout` sends it
        assert signals.received() == number
    assert [signal.getsignal(one) for one in stop.SIGNALS] == before


def test_a_signal_later_again_ends_at_once(monkeypatch) -> None:
    monkeypatch.setattr(stop, "PATIENCE_S", -1.0)
    with StopSignals(ALONE):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
