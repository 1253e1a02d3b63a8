from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ppd_core import DepthPipeline, PipelineConfig
from ppd_core.cli import main
from ppd_core.config import PreprocessConfig, SpDitConfig
from ppd_core.precision import DEPTH_TOLERANCE

PLAIN = PipelineConfig(
    model=SpDitConfig(hidden_size=16, depth=2, num_heads=1, has_semantics=False),
    preprocess=PreprocessConfig(processing_area=32 * 48),
)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("export_tools")
def test_the_command_exports_in_bfloat16_what_depth_then_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    DepthPipeline.from_config(PLAIN, device="cpu").save_pretrained("plain.safetensors")
    words = "export plain.safetensors -o plain.pt2 --size 60x40 --steps 1 --dtype bfloat16"
    assert main([*words.split(), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "image 60 x 40, model 48 x 32, torch.bfloat16 on cpu" in out
    assert "plain.pt2: 48 x 32, 1 step, batch 1, " in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.pt2", "plain.safetensors"]
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("photo.png")
    assert main(["depth", "photo.png", "-o", "out", "--model", "plain.pt2"]) == 0
    assert np.load("out/photo_depth.npy").shape == (40, 60)
    plain = DepthPipeline.from_pretrained("plain.safetensors", device="cpu", dtype=torch.bfloat16)
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    expected = plain(image, num_steps=1).relative_depth_model
    depth = DepthPipeline.from_pretrained("plain.pt2")(image).relative_depth_model
    assert (depth - expected).norm() <= DEPTH_TOLERANCE[torch.bfloat16] * expected.norm()


def test_without_a_compiler_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    def no_compiler(*args: object) -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", no_compiler)
    words = ["export", "tiny", "-o", str(tmp_path / "x.pt2"), "--size", "64x48"]
    assert main([*words, "--device", "cpu"]) == 2
    assert "ppd export: export needs a C++ compiler, found none: install g++" in (
        capsys.readouterr().err
    )


def test_the_command_wants_a_size_like_640x480(tmp_path, capsys):
    assert main(["export", "tiny", "-o", str(tmp_path / "x.pt2"), "--size", "640"]) == 2
    assert "must be like 640x480, got '640'" in capsys.readouterr().err


def test_what_cannot_be_a_source_ends_with_2(tmp_path, capsys):
    size = ["--size", "64x48", "--device", "cpu"]
    assert main(["export", "x.pt2", "-o", str(tmp_path / "y.pt2"), *size]) == 2
    assert "MODEL must be what a package is made of, got x.pt2" in capsys.readouterr().err


@pytest.mark.usefixtures("export_tools")
def test_a_target_of_another_kind_ends_with_2(tmp_path, capsys):
    size = ["--size", "64x48", "--device", "cpu"]
    assert main(["export", "tiny", "-o", str(tmp_path / "y.onnx"), *size]) == 2
    assert "must end in .pt2, got 'y.onnx'" in capsys.readouterr().err
