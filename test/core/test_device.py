from __future__ import annotations

import time

import pytest
import torch

from ppd_core.device import StageClock, resolve_device, resolve_dtype

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


def test_clock_keeps_the_seconds_of_each_stage_in_order():
    clock = StageClock(CPU)
    start = time.perf_counter()
    with clock.stage("first"):
        while time.perf_counter() - start < 0.02:
            pass
    with clock.stage("second"):
        pass
    assert list(clock.seconds) == ["first", "second"]
    assert clock.seconds["first"] >= 0.02 > clock.seconds["second"]
