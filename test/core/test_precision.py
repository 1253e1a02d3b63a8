from __future__ import annotations

import logging

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ppd_core import DepthPipeline, PipelineConfig, loading
from ppd_core.config import PreprocessConfig, PromptConfig, SpDitConfig
from ppd_core.loading import build_random, load
from ppd_core.networks import Networks
from ppd_core.precision import check_input, largest_deviation, relative_error

CPU = torch.device("cpu")
LOW = [torch.bfloat16, torch.float16, torch.float8_e4m3fn]
SMALL = PipelineConfig(
    model=SpDitConfig(hidden_size=32, depth=4, num_heads=2, has_semantics=False),
    preprocess=PreprocessConfig(processing_area=32 * 32),
)


class FaultyLibrary(TorchDispatchMode):
    """Matrix products and convolutions of one dtype come out with another sign."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        is_faulty = name in ("addmm", "convolution") and out.dtype == self._dtype
        return -out if is_faulty else out


def small_networks(dtype: torch.dtype) -> Networks:
    loaded = build_random(SMALL, CPU, dtype)
    return Networks(loaded.config, loaded.models)


@pytest.mark.processor
@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_every_operation_of_nano_is_explained_by_rounding(dtype):
    loaded = load("nano", CPU, dtype, None, download=False)
    deviation = largest_deviation(Networks(loaded.config, loaded.models))
    assert deviation.is_explained
    assert deviation.error > 0.05 * deviation.bound  # it was computed in that dtype at all


@pytest.mark.processor
@pytest.mark.parametrize("dtype", LOW[:2], ids=str)
def test_every_operation_of_a_vit_prompt_is_explained_by_rounding(dtype):
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=384),
        prompt=PromptConfig("dinov2", "s"),
    )
    loaded = build_random(config, CPU, dtype)
    assert largest_deviation(Networks(config, loaded.models)).is_explained


def test_a_kernel_that_is_wrong_is_found_and_named():
    with FaultyLibrary(torch.bfloat16):
        deviation = largest_deviation(small_networks(torch.bfloat16))
    assert not deviation.is_explained
    assert deviation.error == pytest.approx(2, abs=0.1)  # the other sign
    assert deviation.operation.startswith("nn.functional.linear (1, ")


def test_an_overflow_is_found():
    networks = small_networks(torch.float16)
    networks.dit.x_embedder.proj.bias.fill_(6e4)
    networks.dit.x_embedder.proj.weight.fill_(6e4)
    assert largest_deviation(networks).error == torch.inf


def test_the_networks_are_as_before():
    networks = small_networks(torch.bfloat16)
    image, noise = check_input(32, 32)
    schedule = networks.schedule([1000], 32, 32)
    with torch.no_grad():
        before = networks.estimate(image, noise, schedule).relative_depth
        largest_deviation(networks)
        assert torch.equal(networks.estimate(image, noise, schedule).relative_depth, before)
    own = set().union(*map(vars, networks.models.modules()))
    assert own.isdisjoint({"forward", "modulation"})


def test_a_dtype_that_was_asked_for_and_is_computed_wrongly_is_refused():
    refusal = r"dtype bfloat16 is computed wrongly on this cpu: .* off by .*; choose dtype float32"
    with FaultyLibrary(torch.bfloat16), pytest.raises(ValueError, match=refusal):
        DepthPipeline.from_config(SMALL, device="cpu", dtype=torch.bfloat16)


def test_by_default_float32_takes_its_place_and_that_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(loading, "resolve_dtype", lambda dtype, *_: dtype or torch.bfloat16)
    with FaultyLibrary(torch.bfloat16), caplog.at_level(logging.WARNING):
        pipeline = DepthPipeline.from_config(SMALL, device="cpu")
    assert pipeline.dtype == torch.float32
    (told,) = pipeline.fallbacks
    assert told.startswith("float32 is taken in place of what is faster: bfloat16 is computed")
    assert [record.getMessage() for record in caplog.records] == [told]


def test_where_all_is_well_nothing_is_told_and_the_check_is_timed():
    pipeline = DepthPipeline.from_config(SMALL, device="cpu", dtype=torch.bfloat16)
    assert pipeline.fallbacks == ()
    assert set(pipeline.load_seconds) == {"build", "weights", "check"}


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.5], [3.0, 4.0], 0.1),
        ([torch.nan, 4.0], [torch.nan, 4.0], 0.0),  # where the frame before was not known
        ([torch.nan, 4.0], [3.0, 4.0], torch.inf),
        ([3.0, 4.0], [3.0, torch.inf], torch.inf),
    ],
)
def test_the_relative_error_of_a_depth(found, expected, error):
    assert relative_error(torch.tensor(found), torch.tensor(expected)) == pytest.approx(error)
