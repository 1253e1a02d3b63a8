from __future__ import annotations

import os
import signal

import pytest

from ppd_core import stop_signals
from ppd_core.stop_signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_kept_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in stop_signals.SIGNALS]
    with StopSignals() as signals:
        assert signals.received == 0
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)  # at once again, as `timeout` sends it
        assert signals.received == number
    assert [signal.getsignal(one) for one in stop_signals.SIGNALS] == before


def test_a_signal_later_again_ends_at_once(monkeypatch) -> None:
    monkeypatch.setattr(stop_signals, "PATIENCE_S", -1.0)
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
