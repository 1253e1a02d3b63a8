from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ppd_core.config import PRESETS, SpDitConfig
from ppd_core.models import build_models, float8
from ppd_core.models.float8 import (
    Float8Linear,
    is_float8,
    quantize_rows,
    reference_product,
    to_float8,
)
from ppd_core.models.sp_dit import SpDit

IN, OUT = 64, 48
OF_BLOCK = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
FUSION = {f"dit.proj_fusion.{index}" for index in (0, 2, 4)}


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN, OUT).requires_grad_(False)


def tokens(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, IN, generator=generator).bfloat16()


def rounding_bound(x: Tensor, scale: Tensor) -> Tensor:
    """Half a unit of the last of e4m3's 3 mantissa bits: 1/16 of the value at most, and 1/1024 of
    the scale where values are too small to be normal."""
    return (2**-4 * x.abs() + 2**-10 * scale) * (1 + 1e-6)


def test_a_rounded_row_is_within_e4m3_s_bound():
    x = tokens(32).double() * torch.logspace(-6, 6, 32).double()[:, None]
    x[:, ::7] *= 1e-3  # under e4m3's normal numbers
    rounded, scale = quantize_rows(x)
    assert rounded.dtype == torch.float8_e4m3fn and scale.shape == (32, 1)
    error = (rounded.double() * scale - x).abs()
    assert (error <= rounding_bound(x, scale)).all()
    assert (rounded.float().abs().amax(dim=1) == 448).all()  # all of the range is used


def test_the_product_is_within_the_bound_of_its_operands(linear):
    x = tokens(200)
    out = Float8Linear(linear)(x)
    assert out.dtype == torch.bfloat16
    x, weight = x.double(), linear.weight.double()
    exact = nn.functional.linear(x, weight, linear.bias.double())
    of_x, of_weight = (rounding_bound(one, quantize_rows(one)[1]) for one in (x, weight))
    bound = x.abs() @ of_weight.T + of_x @ weight.abs().T + of_x @ of_weight.T
    bound += 2**-8 * (exact.abs() + bound)  # bfloat16 of result and bias
    error = (out - exact).abs()
    assert (error <= bound).all()
    # Errors of both signs cancel: 3 to 4 % of the output is what e4m3 leaves.
    assert 0.02 < float(error.norm() / exact.norm()) < 0.05


def test_values_that_e4m3_can_say_are_multiplied_exactly():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(IN, OUT, bias=False).requires_grad_(False)
    x = torch.randint(-16, 17, (8, IN), generator=generator).float()
    layer.weight.copy_(torch.randint(-16, 17, (OUT, IN), generator=generator))
    x[:, 3] = layer.weight[:, 5] = 448.0  # e4m3's largest: the scales become powers of two
    powers = 2.0 ** torch.arange(-4, 4)[:, None]
    out = Float8Linear(layer)(x * powers)
    assert torch.equal(out, (x @ layer.weight.T * powers).bfloat16())


def test_a_large_token_costs_the_others_nothing(linear):
    layer, x = Float8Linear(linear), tokens(6)
    large = x.clone()
    large[2] *= 4096
    before, after = layer(x), layer(large)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(after[others], before[others])
    assert after[2].abs().amax() > 1000 * before[2].abs().amax()


def test_a_large_channel_costs_the_others_nothing(linear):
    x = tokens(6)
    before = Float8Linear(linear)(x)
    linear.weight[7] *= 4096
    after = Float8Linear(linear)(x)
    others = [index for index in range(OUT) if index != 7]
    assert torch.equal(after[:, others], before[:, others])
    assert after[:, 7].abs().amax() > 1000 * before[:, 7].abs().amax()


@pytest.mark.parametrize("value", [0.0, 1e-38])
def test_a_token_of_nothing_gives_the_bias(linear, value):
    x = tokens(3)
    x[1] = value
    linear.weight[4] = 0
    out = Float8Linear(linear)(x)
    assert torch.isfinite(out).all()
    assert torch.equal(out[1], linear.bias.bfloat16())
    assert torch.equal(out[:, 4], linear.bias[4].bfloat16().expand(3))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_token_that_is_not_finite_is_lost_alone(linear, value):
    x = tokens(3)
    x[1, 5] = value
    out = Float8Linear(linear)(x)
    assert out[1].isnan().all()
    assert torch.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,), (3, 7), (2, 0, 7), (1, 2, 3, 5)])
def test_any_number_of_leading_sides_is_taken(linear, shape):
    layer, x = Float8Linear(linear), tokens(*shape)
    out = layer(x)
    assert out.shape == (*shape, OUT)
    flat = layer(x.reshape(-1, IN)).reshape(out.shape)
    assert torch.equal(out, flat)


def test_the_layout_in_memory_does_not_matter(linear):
    layer, x = Float8Linear(linear), tokens(4, 6)
    by_channel = x.transpose(1, 2).contiguous().transpose(1, 2)
    for other in (by_channel, torch.cat([x, x], dim=-1)[..., :IN], x[:, ::2]):
        assert not other.is_contiguous()
        assert torch.equal(layer(other), layer(other.contiguous()))


def test_a_layer_without_bias_has_none():
    layer = Float8Linear(nn.Linear(IN, OUT, bias=False))
    assert layer.bias is None
    assert torch.equal(layer(torch.zeros(2, IN)), torch.zeros(2, OUT, dtype=torch.bfloat16))


def test_the_reference_is_what_torch_computes(linear):
    layer = Float8Linear(linear)
    rows, scale = quantize_rows(tokens(37))
    try:
        out = torch._scaled_mm(
            rows,
            layer.weight.t(),
            scale,
            layer.weight_scale,
            bias=layer.bias,
            out_dtype=torch.bfloat16,
        )
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this torch has no such product on the CPU: {error}")
    reference = reference_product(rows, layer.weight, scale, layer.weight_scale, layer.bias)
    torch.testing.assert_close(out, reference, rtol=2**-7, atol=1e-3)


@pytest.mark.parametrize("count", [1, 37, 3073])
def test_the_kernel_is_given_what_it_takes_and_nothing_waits(linear, count):
    """Layouts, sizes and dtypes as torch checks them; a value that is asked for is an error."""
    with FakeTensorMode(), torch.device("cuda"):
        layer = Float8Linear(nn.Linear(IN, OUT))
        out = layer(torch.empty(1, count, IN, dtype=torch.bfloat16))
        assert out.shape == (1, count, OUT)
        assert (out.device.type, out.dtype) == ("cuda", torch.bfloat16)
        with pytest.raises(RuntimeError):  # the check is there: rows must not be columns
            layer.weight = nn.Parameter(layer.weight.t().contiguous().t(), requires_grad=False)
            layer(torch.empty(1, count, IN, dtype=torch.bfloat16))


def test_a_layer_compiles_as_one_graph(linear):
    layer, x = Float8Linear(linear), tokens(2, 5)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), layer(x))


@pytest.mark.parametrize("sides", [(24, 32), (32, 24)])
def test_sides_that_the_kernel_does_not_take_are_refused(sides):
    with pytest.raises(ValueError, match=r"sides must be multiples of 16, got \(\d+, \d+\)"):
        Float8Linear(nn.Linear(*sides))


@pytest.mark.parametrize(
    ("preset", "vit", "vit_depth"),
    [
        ("nano", "semantics", 0),
        ("tiny", "semantics.pretrained", 12),
        ("ppd-da2", "semantics.pretrained", 24),
        ("ppd-moge2", "semantics.encoder.backbone", 24),
    ],
)
def test_the_layers_of_blocks_and_fusion_are_replaced_and_no_others(preset, vit, vit_depth):
    config = PRESETS[preset]
    with torch.device("meta"):
        models = build_models(config).to(torch.bfloat16)
    before = dict(models.named_modules())
    names = to_float8(models)

    expected = {
        f"{trunk}.blocks.{index}.{layer}"
        for trunk, depth in (("dit", config.model.depth), (vit, vit_depth))
        for index in range(depth)
        for layer in OF_BLOCK
    }
    assert set(names) == expected | FUSION
    assert len(names) == len(set(names))
    after = dict(models.named_modules())
    replaced = {name for name, module in after.items() if module is not before[name]}
    assert replaced == set(names)
    assert all(isinstance(after[name], Float8Linear) for name in names)
    assert next(models.parameters()).dtype == torch.bfloat16  # a pipeline takes its own from here


def test_layers_of_other_sides_stay():
    config = SpDitConfig(hidden_size=24, depth=2, num_heads=2, semantics_dim=384)
    models = nn.ModuleDict({"dit": SpDit(config)}).bfloat16()
    assert not is_float8(models)
    assert to_float8(models) == ["dit.proj_fusion.2", "dit.proj_fusion.4"]  # 4 x 24 wide
    assert is_float8(models)


def test_a_device_without_the_kernel_is_told_of(monkeypatch):
    def missing(*_: object) -> Tensor:
        raise RuntimeError("rowwise needs something else\nframe #0: somewhere")

    monkeypatch.setattr(float8, "reference_product", missing)
    with torch.device("meta"):
        models = build_models(PRESETS["nano"])
    with pytest.raises(
        ValueError, match=r"float8 needs a torch.*meta, got torch.*rowwise needs something else$"
    ):
        to_float8(models)


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9),
    reason="needs a CUDA device of compute capability 8.9",
)
@pytest.mark.parametrize("count", [1, 37, 3072, 3073, 12_288])
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_kernel_computes_the_reference(count, has_bias):
    torch.manual_seed(0)
    layer = Float8Linear(nn.Linear(1024, 4096, bias=has_bias, device="cuda"))
    x = torch.randn(1, count, 1024, device="cuda", dtype=torch.bfloat16)
    layer(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = layer(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    rows, scale = quantize_rows(x[0])
    reference = reference_product(rows, layer.weight, scale, layer.weight_scale, layer.bias)
    # Outputs are about 0.6; Hopper's units add in somewhat fewer bits than float32 has.
    torch.testing.assert_close(out[0], reference, rtol=2**-7, atol=2e-3)
