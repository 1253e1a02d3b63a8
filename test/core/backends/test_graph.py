from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ppd_core import DepthPipeline, PipelineConfig
from ppd_core.backends import BACKENDS, build_backend, graph, resolve_backend
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.graph import GraphBackend
from ppd_core.compile_cache import VARIABLES, compile_cache_dir
from ppd_core.config import BACKEND_NAMES, PromptConfig, SpDitConfig
from ppd_core.device import StageClock
from ppd_core.flow import timestep_grid
from ppd_core.models.semantics import DinoV2Prompt
from ppd_core.models.sp_dit import SpDit
from ppd_core.networks import Networks

pytestmark = pytest.mark.usefixtures("compiling")
CPU = torch.device("cpu")
AREA = 64 * 96
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}
"""Largest difference of relative depth, which spans about 1: rounding of the dtype."""


@pytest.fixture
def block_by_block(monkeypatch):
    """As networks are compiled that are too large to be compiled as wholes."""
    monkeypatch.setattr(graph, "SMALL_PARAMETERS", 0)


@pytest.fixture
def clock() -> StageClock:
    return StageClock(CPU)


@torch.no_grad()
def assert_eager_depth(backend, networks, images, x_t, num_steps, clock):
    times = timestep_grid(num_steps)
    area = x_t.shape[-2] * x_t.shape[-1]
    expected = EagerBackend(networks).estimate(images, area, x_t, times, clock).relative_depth
    found = backend.estimate(images, area, x_t, times, clock).relative_depth
    assert found.dtype == expected.dtype == networks.state_dtype
    torch.testing.assert_close(found, expected, atol=TOLERANCE[networks.dtype], rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_compiled_whole_the_depth_is_that_of_the_plain_path(small_networks, inputs, clock, dtype):
    backend = GraphBackend(small_networks(dtype))
    for seed in (0, 1):
        images, x_t = inputs(seed)
        assert_eager_depth(backend, small_networks(dtype), images, x_t, 2, clock)


@pytest.mark.usefixtures("block_by_block")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_compiled_block_by_block_the_depth_is_that_of_the_plain_path(
    small_networks, inputs, clock, dtype
):
    backend = GraphBackend(small_networks(dtype))
    for seed, count in ((0, 1), (1, 2)):
        images, x_t = inputs(seed, count=count)
        assert_eager_depth(backend, small_networks(dtype), images, x_t, 2, clock)


@pytest.mark.usefixtures("block_by_block")
def test_a_prompt_compiled_block_by_block_matches_the_recording(
    golden, with_recipe_weights, assert_parity
):
    recorded = golden("da2_vits")
    model = SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=384)
    config = PipelineConfig(model, PromptConfig("da2", "s"))
    encoder = with_recipe_weights(lambda: DinoV2Prompt("s"))
    models = nn.ModuleDict({"dit": SpDit(config.model), "semantics": encoder})
    networks = Networks(config, models)
    graph.compile_networks(networks)
    with torch.no_grad():
        semantics, _ = networks.encode(recorded["image"])
    assert_parity(semantics, recorded["semantics"])


@torch.no_grad()
def test_other_times_of_a_size_need_no_compiling(small_networks, inputs, clock):
    networks = small_networks()
    backend = GraphBackend(networks)
    images, x_t = inputs(0)
    backend.estimate(images, AREA, x_t, timestep_grid(1), clock)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert_eager_depth(backend, small_networks(), images, x_t, 3, clock)


def test_who_was_in_inference_mode_leaves_a_program_for_those_who_are_not(
    small_networks, inputs, clock, record
):
    backend = GraphBackend(small_networks())
    backend._capture = record
    with torch.inference_mode():
        images, x_t = inputs(0)
        backend.estimate(images, AREA, x_t, timestep_grid(1), clock)
    images, x_t = inputs(1)
    assert_eager_depth(backend, small_networks(), images, x_t, 1, clock)


def test_inference_mode_needs_no_compiling_of_its_own(small_networks, inputs, clock):
    backend = GraphBackend(small_networks())
    images, x_t = inputs(0)
    with torch.no_grad():
        backend.estimate(images, AREA, x_t, timestep_grid(1), clock)
    with torch.inference_mode(), torch._dynamo.config.patch(error_on_recompile=True):
        backend.estimate(images, AREA, x_t.clone(), timestep_grid(1), clock)


@torch.no_grad()
def test_programs_are_bounded_and_the_one_unused_for_longest_goes(
    small_networks, inputs, clock, monkeypatch
):
    monkeypatch.setattr(graph, "MAX_PROGRAMS", 2)
    built = []
    build = GraphBackend._build

    def counted(self, images, area, x_t, timesteps):
        built.append(len(timesteps))
        return build(self, images, area, x_t, timesteps)

    monkeypatch.setattr(GraphBackend, "_build", counted)
    backend = GraphBackend(small_networks())
    images, x_t = inputs(0)
    for num_steps in (1, 2, 1, 3, 1, 2):
        backend.estimate(images, AREA, x_t, timestep_grid(num_steps), clock)
    assert built == [1, 2, 3, 2]


def test_four_cameras_with_a_warm_start_fit():
    counts, kinds, asked_for = 4, 2, 1
    assert counts * kinds + asked_for <= graph.MAX_PROGRAMS


@torch.no_grad()
def test_another_size_gets_a_program_of_its_own(small_networks, inputs, clock):
    backend = GraphBackend(small_networks())
    for height, width in ((64, 96), (96, 64), (64, 96)):
        images, x_t = inputs(height, height, width)
        assert_eager_depth(backend, small_networks(), images, x_t, 1, clock)


@pytest.mark.parametrize(
    ("has_triton", "compiler", "reason"),
    [
        (False, None, "none: Triton is not installed, or not for this GPU"),
        (True, None, "none: Triton finds no C compiler"),
        (True, "/usr/bin/gcc", "none: Triton finds no Python.h"),
    ],
)
def test_on_cuda_without_what_triton_needs_the_graph_alone_is_taken_and_told(
    small_networks, monkeypatch, tmp_path, has_triton, compiler, reason
):
    import torch.utils._triton as triton

    monkeypatch.setattr(triton, "has_triton", lambda: has_triton)
    monkeypatch.delattr(torch.utils, "_triton")  # As it is after `import torch`.
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(graph.shutil, "which", lambda name: compiler)
    monkeypatch.setattr(graph.sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(graph, "CudaCapture", lambda device: None)
    networks = small_networks()
    networks.device = torch.device("cuda")
    backend = GraphBackend(networks)
    assert backend.facts["fusion"].startswith(reason)
    assert backend._networks.denoise == backend._networks.dit.denoise


def test_the_limit_of_recompiling_is_found_in_older_torch_too():
    name = graph._limit_name(SimpleNamespace(cache_size_limit=8))
    assert name == "cache_size_limit"
    assert hasattr(torch._dynamo.config, graph._limit_name(torch._dynamo.config))


def test_without_a_compiler_it_says_what_to_install(small_networks, monkeypatch):
    import torch._inductor.cpp_builder as cpp_builder

    def refuse(*args):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", refuse)
    with pytest.raises(ValueError, match="apt install g\\+\\+"):
        GraphBackend(small_networks())


def test_what_is_compiled_is_kept(small_networks, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
    GraphBackend(small_networks(torch.float32))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(compile_cache_dir() / "inductor")


def test_a_cache_that_cannot_be_written_is_told_and_no_error(
    small_networks, monkeypatch, tmp_path
):
    (tmp_path / "ppd_ros").write_text("a file in its place")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
    backend = GraphBackend(small_networks(torch.float32))
    assert backend.facts["compiled kernels"].startswith("not kept: ")


def test_an_unknown_backend_is_refused_with_those_that_exist(small_networks):
    with pytest.raises(ValueError, match=r"eager, graph.*got 'fast'"):
        build_backend(small_networks(), "fast")


def test_the_default_compiles_where_that_is_worth_a_wait():
    assert resolve_backend(None, CPU) == "eager"
    assert resolve_backend(None, torch.device("cuda")) == "graph"
    assert tuple(BACKENDS) == BACKEND_NAMES


def test_a_pipeline_takes_a_backend_by_its_name():
    pipeline = DepthPipeline.from_pretrained("nano", device="cpu", backend="eager")
    assert pipeline.backend.name == "eager"
    with pytest.raises(ValueError, match="backend must be one of"):
        DepthPipeline.from_pretrained("nano", device="cpu", backend="slow")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cuda_graph_gives_the_plain_depth_of_each_frame(dtype):
    eager, fast = (
        DepthPipeline.from_pretrained("nano", device="cuda", dtype=dtype, backend=name)
        for name in ("eager", "graph")
    )
    results = []
    for seed in (0, 1, 0):
        image = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), np.uint8)
        results.append((fast(image), eager(image)))
    for found, expected in results:  # all at the end: none is overwritten by a later frame
        torch.testing.assert_close(
            found.relative_depth_model, expected.relative_depth_model, atol=0.02, rtol=0
        )


@pytest.mark.gpu
def test_a_cuda_graph_allocates_nothing_in_the_steady_state():
    pipeline = DepthPipeline.from_pretrained("nano", device="cuda", backend="graph")
    image = np.zeros((240, 320, 3), np.uint8)
    for _ in range(3):
        pipeline(image)
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["num_device_alloc"]
    for _ in range(10):
        pipeline(image)
    torch.cuda.synchronize()
    assert torch.cuda.memory_stats()["num_device_alloc"] == before
