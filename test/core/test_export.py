"""Packages: exported once, then loaded, run and refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ppd_core import DepthPipeline, PipelineConfig, WeightsError
from ppd_core.backends import aoti, package
from ppd_core.backends.aoti import AotiBackend, load_package
from ppd_core.backends.package import Host, PackageFacts, read_facts, write_facts
from ppd_core.config import PreprocessConfig, PromptConfig, SamplerConfig, SpDitConfig
from ppd_core.device import StageClock
from ppd_core.export import ExportError, check_tools, export
from ppd_core.flow import timestep_grid

SMALL = PipelineConfig(
    model=SpDitConfig(hidden_size=16, depth=2, num_heads=1, semantics_dim=576, prediction="x0"),
    prompt=PromptConfig("efficientnet", "lite0"),
    preprocess=PreprocessConfig(processing_area=32 * 48),
    sampler=SamplerConfig(num_steps=2),
)
MOGE2 = PromptConfig("moge2", "l")
PROMPTED = replace(SMALL.model, semantics_dim=1024)
FACTS = PackageFacts(
    format="aoti",
    config=SMALL,
    is_trained=False,
    batch=2,
    height=32,
    width=48,
    timesteps=tuple(timestep_grid(2)),
    dtype="float32",
    device_type="cpu",
    host=Host.of(torch.device("cpu")),
)


@pytest.fixture(scope="module")
def pipeline() -> DepthPipeline:
    return DepthPipeline.from_config(SMALL, device="cpu")


@pytest.fixture(scope="module")
def packaged(pipeline, export_tools, tmp_path_factory) -> Path:
    """A package of that pipeline, for 2 images of 60 x 40."""
    path = tmp_path_factory.mktemp("package") / "small.pt2"
    export(pipeline, path, height=40, width=60, batch=2)
    return path


@pytest.fixture
def fake(tmp_path) -> Path:
    """An archive with facts and no code: what is refused by its facts must not get to the code."""
    return write_fake(tmp_path / "fake.pt2", FACTS)


def write_fake(path: Path, facts: PackageFacts) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fake/archive_format", "pt2")
    write_facts(path, facts)
    return path


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8))


@pytest.mark.timeout(600)
def test_a_package_gives_the_depth_of_the_plain_path(pipeline, packaged, images):
    loaded = DepthPipeline.from_pretrained(packaged)
    results = loaded.batch(images)
    for result, expected in zip(results, pipeline.batch(images), strict=True):
        assert result.relative_depth_model.shape == (32, 48)
        torch.testing.assert_close(
            result.relative_depth_model, expected.relative_depth_model, rtol=1e-4, atol=1e-5
        )
        assert list(result.timings_s) == ["preprocess", "sample", "upsample", "align"]
    assert not torch.equal(results[0].relative_depth, results[1].relative_depth)
    assert (loaded.is_package, pipeline.is_package) == (True, False)
    assert not loaded.is_trained
    assert (loaded.device, loaded.dtype) == (torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        again = loaded.batch(images)[1].relative_depth
    torch.testing.assert_close(again, results[1].relative_depth, rtol=0, atol=0)


@pytest.mark.timeout(600)
def test_a_package_takes_any_layout_in_memory(pipeline, packaged, images):
    backend = load_package(packaged)
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    x_t = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(2))
    expected = backend.run(images, x_t.repeat(2, 1, 1, 1))
    by_channels_last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        backend.run(by_channels_last, x_t.expand(2, -1, -1, -1)), expected, rtol=0, atol=0
    )


@pytest.mark.timeout(600)
def test_loading_needs_no_compiler(packaged, tmp_path):
    code = f"""
import sys
from ppd_core import DepthPipeline
DepthPipeline.from_pretrained({str(packaged)!r})
print([name for name in sys.modules if name.startswith("torch._inductor.c")])
"""
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": str(tmp_path), "CXX": "no-compiler"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (out.stdout, out.stderr) == ("[]\n", "")


@pytest.mark.timeout(600)
def test_a_package_refuses_what_it_was_not_built_for(packaged, images):
    loaded = DepthPipeline.from_pretrained(packaged)
    built = "this package was built for 48 x 32, 2 steps, batch 2; got "
    with pytest.raises(ValueError, match=re.escape(f"{built}48 x 32, 3 steps, batch 2")):
        loaded.batch(images, num_steps=3)
    with pytest.raises(ValueError, match=re.escape(f"{built}48 x 32, 2 steps, batch 1")):
        loaded(images[0])
    turned = [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in images]
    with pytest.raises(ValueError, match=re.escape(f"{built}32 x 48, 2 steps, batch 2")):
        loaded.batch(turned)
    with pytest.raises(ValueError, match=re.escape(f"{built}96 x 64, 2 steps, batch 2")):
        loaded.batch(images, processing_area=64 * 96)


@pytest.mark.timeout(600)
def test_what_needs_modules_says_that_a_package_has_none(packaged, tmp_path):
    loaded = DepthPipeline.from_pretrained(packaged)
    image = torch.rand(2, 3, 32, 48)
    for call in (
        lambda: loaded.encode(image),
        lambda: loaded.sample(image, None, image[:, :1], [1000]),
        lambda: loaded.save_pretrained(tmp_path / "x.safetensors"),
    ):
        with pytest.raises(ValueError, match="give the model that it was made of"):
            call()
    with pytest.raises(ValueError, match="cannot be exported again"):
        export(loaded, tmp_path / "x.pt2", height=40, width=60)
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(600)
def test_a_package_that_gives_another_depth_leaves_no_file(
    pipeline, export_tools, tmp_path, monkeypatch
):
    monkeypatch.setattr("ppd_core.export._compile_aoti", lambda *args: write_archive(args[2]))
    monkeypatch.setattr("ppd_core.export.open_package", lambda *args: Wrong())
    with pytest.raises(ExportError, match=r"must be within 1e-04 .* got a relative error of 1"):
        export(pipeline, tmp_path / "wrong.pt2", height=40, width=60)
    assert not list(tmp_path.iterdir())


def write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wrong/archive_format", "pt2")


class Wrong:
    def run(self, images: torch.Tensor, x_t: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x_t)


def test_a_package_has_no_metres_of_its_own(images):
    facts = replace(FACTS, batch=1, config=replace(SMALL, model=PROMPTED, prompt=MOGE2))
    backend = AotiBackend(facts, lambda images, x_t: x_t, torch.device("cpu"))
    loaded = DepthPipeline(facts.config, None, backend=backend)
    with pytest.raises(ValueError, match="give the model that it was made of"):
        loaded(images[0], alignment=lambda image, relative, own_anchors: own_anchors())


def test_a_pipeline_without_models_needs_a_package():
    with pytest.raises(ValueError, match="needs models or an exported package, got neither"):
        DepthPipeline(SMALL, None)


def test_facts_come_back_as_they_were_written(fake):
    assert read_facts(fake) == FACTS


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"torch_version": "2.4.1"}, "built with torch 2.4.1, got "),
        ({"system": "linux riscv64"}, "built for linux riscv64, got "),
        ({"cpu_instructions": ("avx1024",)}, "built for a CPU with avx1024, got one without"),
        ({"compute_capability": "8.9"}, "built for CUDA compute capability 8.9, got "),
    ],
)
def test_a_package_of_another_host_is_refused(tmp_path, change, refusal):
    facts = replace(FACTS, host=replace(FACTS.host, **change))
    path = write_fake(tmp_path / "other.pt2", facts)
    with pytest.raises(ValueError, match=re.escape(refusal)):
        DepthPipeline.from_pretrained(path)


def test_a_cpu_with_more_instructions_will_do():
    here = FACTS.host
    more = replace(here, cpu_instructions=(*here.cpu_instructions, "avx1024"))
    assert here.refusal(more) == ""
    assert "avx1024" in more.refusal(here)


def test_another_device_dtype_or_backend_is_refused(fake, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="built for dtype float32, got bfloat16"):
        DepthPipeline.from_pretrained(fake, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="built for backend 'aoti', got 'eager'"):
        DepthPipeline.from_pretrained(fake, backend="eager")
    with pytest.raises(ValueError, match="device"):
        DepthPipeline.from_pretrained(fake, device="meta")
    of_cuda = write_fake(tmp_path / "cuda.pt2", replace(FACTS, device_type="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="built for a CUDA device, got a machine without one"):
        DepthPipeline.from_pretrained(of_cuda)
    with pytest.raises(ValueError, match="built for device cuda, got cpu"):
        DepthPipeline.from_pretrained(of_cuda, device="cpu")


def test_what_is_no_package_is_refused_before_anything_of_it_runs(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(aoti, "open_package", None)  # Calling it would be a TypeError.
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        DepthPipeline.from_pretrained(tmp_path / "missing.pt2")
    truncated = tmp_path / "truncated.pt2"
    truncated.write_bytes(fake.read_bytes()[:-30])
    with pytest.raises(WeightsError, match="truncated, damaged or not a package"):
        DepthPipeline.from_pretrained(truncated)
    foreign = tmp_path / "foreign.pt2"
    write_archive(foreign)
    with pytest.raises(WeightsError, match="must be a package that `ppd export` wrote"):
        DepthPipeline.from_pretrained(foreign)


def test_facts_that_cannot_be_are_refused(tmp_path):
    values = json.loads(FACTS.to_json())
    for change in ({"format": "onnx"}, {"timesteps": []}, {"batch": "2"}, {"surprise": 1}):
        with pytest.raises(ValueError):
            PackageFacts.from_json(json.dumps(values | change))
    with pytest.raises(ValueError):
        PackageFacts.from_json("no JSON")


@pytest.mark.timeout(600)
def test_a_damaged_program_is_an_error_of_the_file(packaged, tmp_path):
    damaged = tmp_path / "damaged.pt2"
    with zipfile.ZipFile(packaged) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:100] if name.endswith(".so") else content)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        DepthPipeline.from_pretrained(damaged)


def test_other_times_than_those_of_the_package_are_refused():
    backend = AotiBackend(FACTS, lambda images, x_t: x_t, torch.device("cpu"))
    with pytest.raises(ValueError, match=re.escape("times (1000, 500), got (700, 300)")):
        backend.estimate(
            [], 1536, torch.zeros(2, 1, 32, 48), [700, 300], StageClock(backend.device)
        )


def test_arguments_of_an_export_are_checked_before_it_starts(pipeline, tmp_path):
    size = {"height": 40, "width": 60}
    for path, options, refusal in (
        ("x.zip", size, "must end in .pt2, got 'x.zip'"),
        ("none/x.pt2", size, "must exist"),
        ("x.pt2", {**size, "batch": 0}, "batch must be >= 1, got 0"),
        ("x.pt2", {**size, "num_steps": 0}, "num_steps must be in"),
        ("x.pt2", {**size, "format": "onnx"}, "format must be one of aoti, tensorrt"),
        ("x.pt2", {"height": 0, "width": 60}, "image size must be >= 1 x 1, got 60 x 0"),
    ):
        with pytest.raises(ValueError, match=refusal):
            export(pipeline, tmp_path / path, **options)


def test_tensorrt_says_what_it_lacks(monkeypatch):
    with pytest.raises(ValueError, match="needs a CUDA device, got cpu"):
        check_tools(torch.device("cpu"), "tensorrt")
    monkeypatch.setitem(__import__("sys").modules, "torch_tensorrt", None)
    with pytest.raises(ValueError, match="pip install torch-tensorrt"):
        check_tools(torch.device("cuda"), "tensorrt")


def test_cpu_instructions_are_read_on_x86_and_arm(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(package, "_CPU_INFO", info)
    info.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma avx512_bf16 hypervisor\n")
    assert Host.of(torch.device("cpu")).cpu_instructions == ("avx2", "avx512_bf16", "fma")
    info.write_text("processor\t: 0\nFeatures\t: fp asimd sve i8mm\n")
    assert Host.of(torch.device("cpu")).cpu_instructions == ("asimd", "i8mm", "sve")
    info.unlink()
    assert Host.of(torch.device("cpu")).cpu_instructions == ()
