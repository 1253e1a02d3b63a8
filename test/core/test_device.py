from __future__ import annotations

import time
from itertools import count

import pytest
import torch

from ppd_core.device import (
    CPU_BFLOAT16,
    DTYPES,
    FLOAT8,
    StageClock,
    compute_dtype,
    resolve_device,
    resolve_dtype,
)

CPU = torch.device("cpu")


def test_default_device_is_cuda_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device(None).type == expected


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_default_dtype_is_the_half_that_the_device_computes_in(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_dtype(None, torch.device("cuda")) == dtype
    assert resolve_dtype(None, CPU) == torch.float32


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_cpu_computes_in_half_where_it_can_and_speed_was_asked_for(monkeypatch, has_bfloat16):
    for name in CPU_BFLOAT16:
        check = f"_is_{name}_supported"
        monkeypatch.setattr(torch.cpu, check, lambda: has_bfloat16, raising=False)
    fast = torch.bfloat16 if has_bfloat16 else torch.float32
    assert resolve_dtype(None, CPU, "graph") == fast
    assert resolve_dtype(None, CPU, "eager") == torch.float32
    assert resolve_dtype(torch.float32, CPU, "graph") == torch.float32


def test_a_device_that_is_none_is_refused():
    with pytest.raises(ValueError, match="device must be like 'cpu' or 'cuda:0', got 'gpu'"):
        resolve_device("gpu")


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_another_kind_of_device_is_refused(device):
    with pytest.raises(ValueError, match=f"device must be 'cpu' or a CUDA device, got '{device}'"):
        resolve_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_a_device_is_refused():
    with pytest.raises(ValueError, match="device cuda wanted, but torch finds no CUDA device"):
        resolve_device("cuda")


def test_cuda_index_out_of_range_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"device cuda:3 wanted, got 1 CUDA device\(s\)"):
        resolve_device("cuda:3")


def test_a_dtype_that_does_not_compute_is_refused():
    with pytest.raises(ValueError, match=r"dtype must be one of torch.float32.*got torch.int8"):
        resolve_dtype(torch.int8, CPU)


def test_float8_needs_units_for_it(monkeypatch):
    cuda, capabilities = torch.device("cuda"), iter([(8, 6), (8, 9), (9, 0), (12, 0)])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: next(capabilities))
    with pytest.raises(ValueError, match=r"capability 8.9 \(Ada, Hopper\) or newer, got 8.6"):
        resolve_dtype(torch.float8_e4m3fn, cuda)
    for _ in range(3):
        assert resolve_dtype(torch.float8_e4m3fn, cuda) == FLOAT8
    assert resolve_dtype(torch.float8_e4m3fn, CPU) == FLOAT8


def test_the_rest_of_a_float8_network_is_in_bfloat16():
    assert compute_dtype(FLOAT8) == torch.bfloat16
    others = [dtype for dtype in DTYPES.values() if dtype != FLOAT8]
    assert [compute_dtype(dtype) for dtype in others] == others


def test_clock_keeps_the_seconds_of_each_stage_in_order(monkeypatch):
    times_s = iter([1.0, 3.0, 3.0, 3.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times_s))
    clock = StageClock(CPU)
    with clock.stage("first"):
        pass
    with clock.stage("second"):
        pass
    monkeypatch.undo()
    assert list(clock.seconds.items()) == [("first", 2.0), ("second", 0.5)]


def events_of_a_device():
    """Makes events that a device reaches one after the other, 1 ms apart, as torch's are."""
    times_ms = count()
    made = []

    class Event:
        def __init__(self):
            self.time_ms = None
            self.is_waited_for = False
            made.append(self)

        def record(self):
            self.time_ms = float(next(times_ms))

        def synchronize(self):
            self.is_waited_for = True

        def elapsed_time(self, other):
            assert other.is_waited_for, "not known yet"
            return other.time_ms - self.time_ms

    return Event, made


def test_a_device_s_stages_are_waited_for_when_they_are_read():
    event, made = events_of_a_device()
    clock = StageClock(CPU, new_event=event)
    for name in ("first", "second"):
        with clock.stage(name):
            pass
    seconds = clock.seconds
    assert list(seconds) == ["first", "second"]
    assert len(seconds) == 2 and "first" in seconds
    assert not any(one.is_waited_for for one in made)
    assert seconds["second"] == 0.001
    assert [one.is_waited_for for one in made] == [False, False, False, True]
    assert dict(seconds) == {"first": 0.001, "second": 0.001}


def test_a_clock_goes_on_from_another_without_a_wait():
    event, made = events_of_a_device()
    shared = StageClock(CPU, new_event=event)
    with shared.stage("prompt"):
        pass
    own = [StageClock(CPU, earlier=shared.seconds, new_event=event) for _ in range(2)]
    for clock in own:
        with clock.stage("align"):
            pass
    assert not any(one.is_waited_for for one in made)
    assert list(shared.seconds) == ["prompt"]
    for clock in own:
        assert dict(clock.seconds) == {"prompt": 0.001, "align": 0.001}


def test_a_stage_that_failed_has_no_time():
    clock = StageClock(CPU)
    with pytest.raises(ZeroDivisionError), clock.stage("broken"):
        1 / 0  # noqa: B018
    assert dict(clock.seconds) == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_stage_on_a_gpu_lasts_as_long_as_the_gpu_works():
    clock = StageClock(torch.device("cuda"))
    with clock.stage("sleep"):
        torch.cuda._sleep(50_000_000)
    start = time.perf_counter()
    assert clock.seconds["sleep"] > 0.005
    assert time.perf_counter() - start > 0.001  # Nobody had waited before.
