from __future__ import annotations

import json

import pytest
import torch

from ppd_core import DepthPipeline, doctor, machine_facts
from ppd_core.cli import main
from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig
from ppd_core.precision import Deviation

WRONG = Deviation("nn.functional.linear (1, 4)", 1.06, 0.031)
FACTS = {"ppd", "torch", "onednn_isa", "cpu", "cpp_compiler", "egl", "ros", "rmw", "weights.ppd"}


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A small model, at a small size."""
    monkeypatch.setattr(doctor, "SIZE", (32, 48))
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False),
        preprocess=PreprocessConfig(processing_area=32 * 48),
    )
    path = tmp_path / "small.safetensors"
    DepthPipeline.from_config(config, device="cpu").save_pretrained(path)
    return path


@pytest.fixture
def examine(checkpoint, tmp_path, capsys):
    """Runs the command on it -> the exit status, what was printed and written."""

    def run(*options: str) -> tuple[int, str, dict]:
        report = tmp_path / "report.json"
        status = main(
            [
                *("doctor", "--model", str(checkpoint), "--device", "cpu", "--backend", "eager"),
                *("--weights-dir", str(tmp_path), "--json", str(report), *options),
            ]
        )
        return status, capsys.readouterr().out, json.loads(report.read_text())

    return run


def test_it_tells_what_is_here_and_checks_every_precision(examine):
    status, text, report = examine()
    assert status == 0 and report["ok"] and report["wrong"] == []
    assert report.keys() >= FACTS
    assert report["torch"] == torch.__version__
    for dtype in doctor.DTYPE_NAMES:
        name = f"check.cpu.{dtype}.eager"
        assert report[f"{name}.status"] == "ok", report[f"{name}.why"]
        assert report[f"{name}.error"] <= report[f"{name}.bound"]
        assert report[f"{name}.ms"] > 0
        assert f"cpu.{dtype}.eager" in text
    assert text.endswith("all is well\n")


def test_what_is_wrong_is_named_and_the_status_is_1(examine, monkeypatch):
    monkeypatch.setattr(doctor, "largest_deviation", lambda networks: WRONG)
    status, text, report = examine()
    assert status == 1 and not report["ok"]
    assert report["check.cpu.float32.eager.status"] == "ok"
    assert report["check.cpu.bfloat16.eager.status"] == "WRONG"
    assert f"WRONG: cpu.bfloat16.eager: {WRONG}" in text


def test_what_fails_is_wrong_and_what_is_lacking_is_not(examine, monkeypatch):
    def fail(networks, name):
        raise (
            RuntimeError("no such kernel")
            if networks.dtype == torch.bfloat16
            else ValueError("float16 needs another device")
        )

    monkeypatch.setattr(doctor, "build_backend", fail)
    status, _, report = examine()
    assert status == 1
    assert report["check.cpu.bfloat16.eager.why"] == "RuntimeError: no such kernel"
    assert report["check.cpu.float16.eager.status"] == "not here"


def test_a_damaged_weight_file_is_wrong(examine, tmp_path):
    file = machine_facts.REGISTRY["ppd"]
    (tmp_path / file.filename).write_bytes(b"not what was published")
    (tmp_path / f"{file.filename}.sha256").write_text(f"{'0' * 64}  {file.filename}\n")
    status, text, report = examine()
    assert status == 1
    assert report["weights.ppd"].startswith("DAMAGED")
    assert "WRONG: weights ppd are not the published file" in text


def test_a_model_that_is_not_here_is_told(tmp_path, capsys):
    missing = ["doctor", "--model", "ppd-da2", "--weights-dir", str(tmp_path), "--device", "cpu"]
    assert main(missing) == 2
    assert "ppd weights fetch" in capsys.readouterr().err


def test_one_instruction_set_is_told_and_what_limits_it(monkeypatch):
    monkeypatch.setenv(machine_facts.ISA_LIMIT, "AVX2")
    assert "limited by ONEDNN_MAX_CPU_ISA=AVX2" in machine_facts.versions()["onednn_isa"]


def test_which_ros_by_its_wheels_or_its_prefixes(monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy:/home/user/ws/install")
    monkeypatch.setenv("ROS_DISTRO", "kilted")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_zenoh_cpp")
    facts = machine_facts.ros()
    assert (facts["ros_distro"], facts["rmw"]) == ("kilted", "rmw_zenoh_cpp")
    assert facts["ros_prefixes"] == "2"


@pytest.mark.parametrize("has_units", [True, False])
def test_on_a_cpu_graph_is_tried_where_that_is_worth_compiling(checkpoint, monkeypatch, has_units):
    def refuse(networks, name):
        raise ValueError("not for this test")

    monkeypatch.setattr(doctor, "cpu_has_bfloat16", lambda: has_units)
    monkeypatch.setattr(doctor, "build_backend", refuse)
    tried = {one.name for one in doctor.examine(str(checkpoint), torch.device("cpu"))}
    assert ("cpu.bfloat16.graph" in tried) == has_units
    assert "cpu.float32.graph" in tried and "cpu.float16.graph" not in tried
