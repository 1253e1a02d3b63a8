"""Whether this machine computes what it should: half precision against float32, one operation
after the other, and one way of running the networks against the plain one.

Libraries choose their kernels by processor, dtype and shape, and some of these are wrong: what was
tested on one machine says little of the next. So it is looked at where the networks will run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves, tree_map

from ppd_core.config import COARSE_PATCH_PX
from ppd_core.device import FLOAT8
from ppd_core.flow import T
from ppd_core.models.layers import DitBlock, alike_blocks
from ppd_core.models.moge2 import MoGe2, MoGe2Features
from ppd_core.models.sp_dit import SpDit
from ppd_core.networks import Networks

LOW = (torch.bfloat16, torch.float16, FLOAT8)
"""The dtypes that are checked."""
ROUNDINGS = 8
"""How many times the largest rounding of a value an operation may be off, in the root mean square.

One operation on given values rounds its result, and little else: sums are kept in float32. Of all
operations of all prompts, at random weights and nano's, on a CPU, the largest was 0.68; a kernel
that is wrong is off by the values themselves, 256 times the rounding of bfloat16.
"""
CHECKED_CHANNELS = 256
"""At least so many of a linear layer's outputs are compared."""
CHECKED_SIZE = (32, 32)
"""(h, w) at model size: 2 x 2 coarse tokens, 4 x 4 fine ones. It is to cost little, and weights
are most of what is read."""
DEPTH_TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
    FLOAT8: 1e-1,
}
"""How far, relatively, the depth of a way of running the networks may be from the plain one's of
the same dtype: about ten roundings of it, of float8 two."""


class WrongDepthError(ValueError):
    """A way of running the networks gives another depth than the plain one."""


@dataclass(frozen=True)
class Deviation:
    """How far an operation is from what it should give.

    Attributes:
        operation: its name, and the shapes that it was given.
        error: root mean square of the difference over that of the right values; infinite where
            it gave what is not finite.
        bound: what rounding explains.
    """

    operation: str
    error: float
    bound: float

    @property
    def is_explained(self) -> bool:
        """Whether it is rounding."""
        return self.error <= self.bound

    def __str__(self) -> str:
        return f"{self.operation} is off by {self.error:.2g}, rounding explains {self.bound:.2g}"


@torch.no_grad()
def largest_deviation(networks: Networks) -> Deviation:
    """Run the networks once on a small fixed image, and each operation in half precision of it
    once more in float32, on the same values and device.

    Operations are told apart by what they are given: kernels are chosen by that. On a CPU one
    transformer block stands for all that are alike, since it takes most of its time to read the
    weights; on CUDA all of them are computed, and an overflow anywhere is seen.

    Args:
        networks: in half precision or with float8 layers, not compiled.

    Returns:
        Of the operation that is worst, measured by its bound.
    """
    height, width = CHECKED_SIZE
    device, dtype = networks.device, networks.state_dtype
    image, noise = (x.to(device, dtype) for x in check_input(height, width))
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(_one_block_for_all(networks.models))
        comparison = stack.enter_context(_Comparison())
        features = networks.estimate(image, noise, networks.schedule([T], height, width)).features
        if features is not None:
            # One token: the heads are convolutions, at 16 x 16 for each.
            corner = MoGe2Features(features.grid[..., :1, :1], features.class_token)
            encoder = cast(MoGe2, networks.models["semantics"])
            encoder.geometry(corner, COARSE_PATCH_PX, COARSE_PATCH_PX)
    return comparison.largest()


def check_input(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A picture with borders, and what stands for noise: by formulas, the same everywhere.

    Returns:
        (1, 3, h, w) in [0, 1] and (1, 1, h, w), float32, on the CPU.
    """
    with torch.device("cpu"):
        rows, cols = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
        is_box = (rows > 0.3) & (rows < 0.7) & (cols > 0.4) & (cols < 0.8)
        floor = 0.3 + 0.5 * rows * torch.ones_like(cols)
        channels = [torch.where(is_box, value, floor) for value in (0.7, 0.25, 0.15)]
        index = torch.arange(height * width, dtype=torch.float32).view(height, width)
        noise = (1.7 * index).sin() + (0.9 * index).cos()
        return torch.stack(channels)[None], noise[None, None]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||, of what is finite; infinite where one alone is."""
    is_finite = expected.isfinite()
    if not torch.equal(is_finite, found.isfinite()):
        return torch.inf
    difference = (found.double() - expected.double())[is_finite]
    scale = expected[is_finite].double().norm().clamp(min=torch.finfo(torch.float32).tiny)
    return float(difference.norm() / scale)


class _Comparison(TorchFunctionMode):
    """Computes what is computed within, and each kind of operation once more in float32."""

    def __init__(self) -> None:
        super().__init__()
        self._measured: dict[object, tuple[str, Tensor, float]] = {}

    def __torch_function__(
        self, func: Callable, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        low = [dtype for dtype in map(_dtype, leaves) if dtype in LOW]
        key = func, tuple((getattr(leaf, "shape", ()), _dtype(leaf)) for leaf in leaves)
        if not low or key in self._measured or not _is_new(out, tensors):
            return out
        computed = out
        if func is torch._scaled_mm:
            expected = _scaled_product(*args, **kwargs)
        elif func is F.linear:
            computed, expected = _some_channels(out, *args, **kwargs)
        else:
            expected = func(*tree_map(_raised, args), **tree_map(_raised, kwargs))
        # float32 made of lower values is as good as these.
        dtype = out.dtype if out.dtype in LOW else max(low, key=lambda d: torch.finfo(d).eps)
        shapes = " x ".join(str(tuple(tensor.shape)) for tensor in tensors)
        name = f"{resolve_name(func)} {shapes}".removeprefix("torch.")
        error = _error(computed, expected, torch.finfo(dtype).tiny)
        self._measured[key] = name, error, ROUNDINGS * torch.finfo(dtype).eps / 2
        return out

    def largest(self) -> Deviation:
        """The worst of all that was computed."""
        names, errors, bounds = zip(*self._measured.values(), strict=True)
        values = torch.stack(errors).tolist()  # one wait for the device
        deviations = map(Deviation, names, values, bounds)
        return max(
            deviations, key=lambda d: d.error / d.bound if d.error == d.error else torch.inf
        )


def _dtype(leaf: object) -> torch.dtype | None:
    """Of a tensor, or what is one itself."""
    if isinstance(leaf, torch.dtype):
        return leaf
    return leaf.dtype if isinstance(leaf, Tensor) else None


def _raised(leaf: Any) -> Any:
    """A tensor, or the name of a dtype, in float32 if it was lower."""
    if _dtype(leaf) not in LOW:
        return leaf
    return leaf.float() if isinstance(leaf, Tensor) else torch.float32


def _is_new(out: object, tensors: list[Tensor]) -> bool:
    """Whether something was computed of tensors: not a view, nor written into one."""
    if not isinstance(out, Tensor) or not out.is_floating_point() or not out.numel():
        return False
    own = out.untyped_storage().data_ptr()
    return bool(tensors) and all(own != x.untyped_storage().data_ptr() for x in tensors)


def _error(out: Tensor, expected: Tensor, tiny: float) -> Tensor:
    """Root mean squares; values under `tiny`, the least normal number, may lose all digits."""
    expected = expected.float()
    difference = (out.float() - expected).square().mean().sqrt()
    return difference / (expected.square().mean().sqrt() + tiny)


def _scaled_product(
    rows: Tensor,
    columns: Tensor,
    row_scale: Tensor,
    column_scale: Tensor,
    bias: Tensor | None,
    out_dtype: torch.dtype,
) -> Tensor:
    """`torch._scaled_mm` in float32, as `models.float8` calls it."""
    out = (rows.float() @ columns.float()) * (row_scale * column_scale)
    return out if bias is None else out + bias.float()


def _some_channels(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What `F.linear` gave, and what it should have: of channels all over its output.

    Not of all: to make float32 of a large weight takes longer than all else here.
    """
    some = slice(None, None, max(1, len(weight) // CHECKED_CHANNELS))
    bias = None if bias is None else bias[some].float()
    return out[..., some], F.linear(x.float(), weight[some].float(), bias)


@contextmanager
def _one_block_for_all(models: nn.ModuleDict) -> Iterator[None]:
    """Let tokens pass by all transformer blocks but the first of their kind.

    SP-DiT's are of two kinds: those of its second half see more tokens.
    """
    passed_by: list[nn.Module] = []
    for model in models.values():
        for blocks in alike_blocks(model):
            second = len(blocks) // 2 if isinstance(model, SpDit) else 0
            passed_by += [block for i, block in enumerate(blocks) if i not in (0, second)]
    for block in passed_by:
        block.forward = lambda x, *_, **__: x
        if isinstance(block, DitBlock):
            block.modulation = _no_modulation  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in passed_by:
            del block.forward
            if isinstance(block, DitBlock):
                del block.modulation


def _no_modulation(time: Tensor) -> Tensor:
    return time.new_zeros(len(time), DitBlock.MODULATION_ROWS, time.shape[-1])
