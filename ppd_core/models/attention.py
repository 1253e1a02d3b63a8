"""Kernels of attention: the same mathematics, of which one or the other is faster on a device."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

AttentionKernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, heads, N, d) queries, keys and values -> `softmax(q k^T / sqrt(d)) v`, of the same shape."""

DEFAULT = "sdpa"
"""Runs anywhere and differentiates."""
BLOCK_BYTES = 1 << 20
"""Scores that one thread works on at a time: what stays in a core's own cache."""
MEASURED_TOKENS = 4096
"""More than these are not measured: by then the order is settled, and a CPU takes seconds."""
_RUNS = 3


@torch.library.custom_op("ppd::blocked_attention", mutates_args=())
def blocked_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by blocks of queries small enough for the cache, as plain matrix products.

    On CPUs with bfloat16 units: there torch's own kernel multiplies in float32.

    Args:
        q, k, v: (B, heads, N, d), no gradients.

    Returns:
        (B, heads, N, d), contiguous.
    """
    batch, heads, tokens, width = q.shape
    keys, values = (x.reshape(batch * heads, -1, width) for x in (k, v))
    queries = (q * width**-0.5).reshape(batch * heads, tokens, width)
    out = torch.empty_like(queries)
    threads = torch.get_num_threads()
    rows = max(1, BLOCK_BYTES // (keys.shape[1] * q.element_size()))
    for head in range(0, batch * heads, threads):
        of_heads = slice(head, head + threads)
        own_keys = keys[of_heads].transpose(1, 2)
        for row in range(0, tokens, rows):
            of_rows = slice(row, row + rows)
            scores = torch.bmm(queries[of_heads, of_rows], own_keys).softmax(-1)
            out[of_heads, of_rows] = torch.bmm(scores, values[of_heads])
    return out.view(batch, heads, tokens, width)


@blocked_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q.new_empty(q.shape)


def kernels(device: torch.device, dtype: torch.dtype) -> dict[str, AttentionKernel]:
    """Name -> kernel, of those that may run here; a kernel can still refuse a shape."""
    found: dict[str, AttentionKernel] = {DEFAULT: F.scaled_dot_product_attention}
    if device.type == "cpu" and dtype == torch.bfloat16:
        found["blocked"] = blocked_attention
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention import SDPBackend

        found["flash"] = _of_sdpa(SDPBackend.FLASH_ATTENTION)
        found["cudnn"] = _of_sdpa(SDPBackend.CUDNN_ATTENTION)
        for name, module in (("fa3", "flash_attn_interface"), ("fa4", "flash_attn.cute")):
            if (flash_attention := _flash_attention(module)) is not None:
                found[name] = flash_attention
    return found


@dataclass(frozen=True)
class Choice:
    """The fastest of several kernels.

    Attributes:
        name: of the fastest.
        kernel: itself.
        seconds: name -> seconds of each that could run.
    """

    name: str
    kernel: AttentionKernel
    seconds: Mapping[str, float]


def fastest_kernel(
    candidates: Mapping[str, AttentionKernel],
    shape: tuple[int, int, int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Choice:
    """Try kernels on a device.

    Args:
        candidates: name -> kernel; `DEFAULT` must be among them, and always runs.
        shape: (B, heads, N, d) of what they shall compute; at most `MEASURED_TOKENS` are tried.
    """
    assert DEFAULT in candidates
    if len(candidates) == 1:
        return Choice(DEFAULT, candidates[DEFAULT], {})
    batch, heads, tokens, width = shape
    shape = batch, heads, min(tokens, MEASURED_TOKENS), width
    own = torch.Generator(device)  # Others' random numbers must not depend on this.
    q, k, v = (torch.randn(shape, generator=own, device=device, dtype=dtype) for _ in range(3))
    seconds: dict[str, float] = {}
    for name, kernel in candidates.items():
        try:
            seconds[name] = min(_timed(kernel, q, k, v, _RUNS))
        except Exception:  # What refuses a shape or a device does so in ways of its own.
            if name == DEFAULT:
                raise
    fastest = min(seconds, key=seconds.__getitem__)
    return Choice(fastest, candidates[fastest], seconds)


def _timed(kernel: AttentionKernel, q: Tensor, k: Tensor, v: Tensor, runs: int) -> Iterable[float]:
    for run in range(1 + runs):
        start_s = time.perf_counter()
        kernel(q, k, v)
        if q.device.type == "cuda":
            torch.cuda.synchronize(q.device)
        if run:  # the first makes ready
            yield time.perf_counter() - start_s


def _of_sdpa(backend: object) -> AttentionKernel:
    """torch's attention, by one of its own kernels and no other."""
    from torch.nn.attention import sdpa_kernel

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):  # type: ignore[arg-type]
            return F.scaled_dot_product_attention(q, k, v)

    return kernel


def _flash_attention(module: str) -> AttentionKernel | None:
    """A FlashAttention that is installed beside torch: tokens before heads, and maybe a tuple."""
    try:
        function = importlib.import_module(module).flash_attn_func
    except (ImportError, AttributeError, OSError, RuntimeError):
        return None

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = 1 / math.sqrt(q.shape[-1])
        out = function(*(x.transpose(1, 2) for x in (q, k, v)), softmax_scale=scale)
        return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)

    return kernel
