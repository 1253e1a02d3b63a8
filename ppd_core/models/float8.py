"""Linear layers in float8: weights and activations of 8 bits each, the rest in bfloat16.

e4m3 has 3 mantissa bits, so a rounded value is off by up to 1/16 of itself; down to 1/64 of a
scale, and under that by up to 1/1024 of the scale. A scale for each output channel of the weight
and for each token of the input keeps one large value from costing the others their digits.

On a CUDA device the product is a kernel of `torch._scaled_mm`. On the CPU it is computed from the
same rounded values in float32: to check what float8 does to the depth, not to be fast.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ppd_core.device import FLOAT8, compute_dtype

COMPUTE_DTYPE = compute_dtype(FLOAT8)
"""Of what the products return, and of all else in a network with such layers."""
LARGEST = torch.finfo(FLOAT8).max
SIDE_MULTIPLE = 16
"""Of both sides of a weight: the kernel takes no others."""

_CONVERTED = re.compile(
    r"(.+\.)?(blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))|proj_fusion\.\d+)"
)


class Float8Linear(nn.Module):
    """Stands in place of an `nn.Linear`, whose weight it rounds.

    Nothing waits for the device, and nothing depends on values: it can be compiled and recorded.

    Args:
        linear: both sides multiples of 16.

    Attributes:
        weight: (out, in) e4m3.
        weight_scale: (1, out) float32; the weight was about `weight * weight_scale.T`.
        bias: (out,) bfloat16, or None.
    """

    weight_scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        sides = tuple(linear.weight.shape)
        if any(side % SIDE_MULTIPLE for side in sides):
            raise ValueError(f"a float8 weight's sides must be multiples of 16, got {sides}")
        self.out_features, self.in_features = sides
        weight, scale = quantize_rows(linear.weight.detach())
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("weight_scale", scale.reshape(1, -1))
        bias = None if linear.bias is None else linear.bias.detach().to(COMPUTE_DTYPE)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out) in bfloat16."""
        rows, scale = quantize_rows(x.reshape(-1, self.in_features))
        product = _scaled_product if rows.is_cuda else reference_product
        out = product(rows, self.weight, scale, self.weight_scale, self.bias)
        return out.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """As `nn.Linear`'s."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to e4m3 under a scale that takes its largest magnitude to e4m3's largest.

    Args:
        x: (M, K), finite; a row with NaN or infinite values becomes NaN.

    Returns:
        (M, K) e4m3 and the (M, 1) float32 scales; x is about their product. Rows of zeros stay so.
    """
    largest = x.abs().amax(dim=-1, keepdim=True).float()
    # Not under the least normal number: devices flush smaller ones to 0, and 0 / 0 is NaN.
    scale = (largest / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    return (x.float() / scale).to(FLOAT8), scale


def reference_product(
    rows: Tensor, weight: Tensor, row_scale: Tensor, weight_scale: Tensor, bias: Tensor | None
) -> Tensor:
    """What the kernel computes, by a float32 product: runs anywhere, gains nothing.

    Products of two e4m3 values are exact in float32; the order of their sum alone is free.

    Args:
        rows, weight: (M, K) and (N, K) e4m3.
        row_scale, weight_scale: (M, 1) and (1, N) float32.
        bias: (N,), or None.

    Returns:
        (M, N) bfloat16.
    """
    out = (rows.float() @ weight.float().t()) * (row_scale * weight_scale)
    return (out if bias is None else out + bias).to(COMPUTE_DTYPE)


def _scaled_product(
    rows: Tensor, weight: Tensor, row_scale: Tensor, weight_scale: Tensor, bias: Tensor | None
) -> Tensor:
    # The faster accumulation in fewer bits stays off: it is torch's default, and what the
    # reference, and so every figure taken without a GPU, stands for.
    return torch._scaled_mm(
        rows, weight.t(), row_scale, weight_scale, bias=bias, out_dtype=COMPUTE_DTYPE
    )


def to_float8(models: nn.Module) -> list[str]:
    """Put float8 layers, in place, where most of the time goes: into blocks and fusion.

    These are the linears of attention and MLP in the transformer blocks of SP-DiT and of the
    prompt's ViT, and SP-DiT's fusion, if both sides are multiples of 16. Patch embedders, time,
    adaLN, the last layer and the prompt's own heads stay: they are small, and what they round
    every token or pixel gets.

    Args:
        models: in bfloat16, with weights, on their device.

    Returns:
        The names of the layers that were replaced.

    Raises:
        ValueError: torch has no such kernel for this device.
    """
    names = [name for name, module in models.named_modules() if _is_converted(name, module)]
    for name in names:
        parent, _, attribute = name.rpartition(".")
        linear = models.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        setattr(models.get_submodule(parent), attribute, Float8Linear(linear))
    if names:
        _check_kernel(models.get_submodule(names[0]))
    return names


def is_float8(models: nn.Module) -> bool:
    """Whether there are float8 layers among them."""
    return any(isinstance(module, Float8Linear) for module in models.modules())


def _is_converted(name: str, module: nn.Module) -> bool:
    if not isinstance(module, nn.Linear) or _CONVERTED.fullmatch(name) is None:
        return False
    return not any(side % SIDE_MULTIPLE for side in module.weight.shape)


def _check_kernel(layer: nn.Module) -> None:
    """Ask once for a product: which devices the kernel knows is torch's to say, and changes."""
    assert isinstance(layer, Float8Linear)
    device = layer.weight.device
    try:
        layer(torch.zeros(1, layer.in_features, dtype=COMPUTE_DTYPE, device=device))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]  # torch lets its own stack follow
        raise ValueError(
            f"float8 needs a torch whose scaled product runs on {device}, "
            f"got torch {torch.__version__}: {reason}"
        ) from error
