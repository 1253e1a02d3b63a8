from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ppd_core.models import attention
from ppd_core.models.attention import blocked_attention, fastest_kernel, kernels

CPU = torch.device("cpu")


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(3)]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 70), st.sampled_from([4, 16, 64]))
def test_blocks_of_any_size_give_the_attention(batch, heads, tokens, width):
    q, k, v = inputs(batch, heads, tokens, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK_BYTES", 16 * 4 * tokens)
        found = blocked_attention(q, k, v)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(q, k, v))


def test_blocks_take_tensors_that_are_views(monkeypatch):
    qkv = torch.randn(2, 50, 3, 4, 8)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    monkeypatch.setattr(attention, "BLOCK_BYTES", 2000)
    torch.testing.assert_close(blocked_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_bfloat16_blocks_are_as_near_to_the_truth_as_torch_s_own():
    q, k, v = inputs(1, 4, 300, 64, dtype=torch.bfloat16)
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    errors = [
        float((out.double() - exact).norm() / exact.norm())
        for out in (blocked_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    ]
    assert errors[0] < 3 * errors[1]


def test_the_shape_is_known_without_computing():
    torch.library.opcheck(blocked_attention, tuple(inputs(1, 2, 8, 4)))


def test_blocks_are_tried_where_torch_multiplies_in_float32():
    assert set(kernels(CPU, torch.bfloat16)) == {"sdpa", "blocked"}
    assert set(kernels(CPU, torch.float32)) == {"sdpa"}


def test_the_fastest_that_can_run_is_taken_and_all_are_told(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(attention, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))

    def slow(q, k, v):
        now_s[0] += 0.5
        return q

    def broken(q, k, v):
        raise RuntimeError("not for this shape")

    candidates = {"sdpa": slow, "broken": broken, "quick": lambda q, k, v: q}
    choice = fastest_kernel(candidates, (1, 1, 8, 4), CPU, torch.float32)
    assert choice.name == "quick"
    assert choice.kernel is candidates["quick"]
    assert choice.seconds == {"sdpa": 0.5, "quick": 0.0}


def test_one_kernel_is_taken_untried():
    def fail(q, k, v):
        raise AssertionError

    assert fastest_kernel({"sdpa": fail}, (1, 1, 8, 4), CPU, torch.float32).seconds == {}


def test_trying_kernels_takes_none_of_the_random_numbers_of_others():
    sdpa = F.scaled_dot_product_attention
    state = torch.get_rng_state()
    fastest_kernel({"sdpa": sdpa, "other": sdpa}, (1, 1, 4, 4), torch.device("cpu"), torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
