from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("webdataset", reason="shards need webdataset")

from ppd_core.cli import main
from ppd_core.cli import sim as sim_module
from ppd_core.sim import generate as generate_module
from ppd_core.sim.camera import RenderingUnavailableError
from ppd_core.sim.dataset import DatasetConfig
from ppd_core.sim.generate import GenerationError, GenerationResult
from ppd_core.sim.scenes import HELD_OUT_SEEDS

Run = Callable[..., int]


class Recorder:
    """Stands in for `generate`: keeps what it was called with."""

    def __init__(self) -> None:
        self.config: DatasetConfig | None = None
        self.processes: int | None = None
        self.result = GenerationResult(frames_written=30, frames_found=10, seconds=2.0)
        self.error: BaseException | None = None

    def __call__(
        self,
        folder: Path,
        config: DatasetConfig,
        *,
        processes: int | None,
        on_progress: Callable[[int], None],
    ) -> GenerationResult:
        self.config, self.processes = config, processes
        if self.error is not None:
            raise self.error
        for frames in (10, 25, 40):
            on_progress(frames)
        return self.result


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(generate_module, "generate", recorder)
    return recorder


@pytest.fixture
def sim_generate(recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["sim", "generate", "-o", "out", *words])


def test_words_become_the_config(sim_generate: Run, recorder: Recorder):
    sizes = "--width 64 --height 48 --views-per-scene 4 --processes 3"
    assert sim_generate("--count", "40", "--seed", "7", *sizes.split()) == 0
    assert recorder.config == DatasetConfig(7, 40, width=64, height=48, views_per_scene=4)
    assert recorder.processes == 3


def test_defaults_are_those_of_the_config(sim_generate: Run, recorder: Recorder):
    assert sim_generate("--count", "40", "--seed", "7") == 0
    assert recorder.config == DatasetConfig(7, 40)
    assert recorder.processes is None


def test_held_out_means_exactly_those_scenes(sim_generate: Run, recorder: Recorder):
    assert sim_generate("--held-out", "--views-per-scene", "1") == 0
    assert recorder.config is not None
    assert recorder.config.is_held_out
    assert recorder.config.scene_seeds == HELD_OUT_SEEDS
    assert sim_generate("--held-out", "--count", "16") == 0
    assert recorder.config.scene_seeds == HELD_OUT_SEEDS[:2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--count 40", "--count and --seed must be given, or --held-out"),
        ("--seed 40", "--count and --seed must be given, or --held-out"),
        ("--held-out --seed 3", "--held-out has its own seeds, got --seed 3 too"),
        ("--held-out --count 5000", "held-out scenes have the seeds 900000000 to 900000499"),
        ("--count 8 --seed 900000007", "are held out for evaluation, got scene seeds 900000007"),
        ("--count 0 --seed 1", "count must be >= 1, got 0"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(
    sim_generate: Run,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
):
    assert sim_generate(*words.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("ppd sim: ")
    assert recorder.config is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no\nfolder"), 2),
        (RenderingUnavailableError("no folder"), 2),
        (GenerationError("no folder"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_failure_is_one_line_and_a_status(
    sim_generate: Run,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
):
    recorder.error = error
    assert sim_generate("--count", "40", "--seed", "7") == status
    wanted = "ppd: interrupted\n" if status == 130 else "ppd sim: no folder\n"
    assert capsys.readouterr().err == wanted


def test_progress_and_rate_are_shown(sim_generate: Run, capsys: pytest.CaptureFixture[str]):
    assert sim_generate("--count", "40", "--seed", "7") == 0
    captured = capsys.readouterr()
    assert "40/40" in captured.err
    assert captured.out == "40 frames: out\n30 written now, 15.0 frames/s\n"


def test_json_holds_the_figure_and_how_it_was_measured(sim_generate: Run):
    words = "--count 40 --seed 7 --processes 3 --json figures.json"
    assert sim_generate(*words.split()) == 0
    figures = json.loads(Path("figures.json").read_text())
    assert figures["frames_per_s"] == 15.0
    assert (figures["frames"], figures["seconds"], figures["processes"]) == (30, 2.0, 3)
    assert figures["command"] == (
        "ppd sim generate --count 40 --seed 7 --width 320 --height 240 --views-per-scene 8 "
        "--processes 3"
    )
    assert "cores" in figures["hardware"]
    assert "MuJoCo" in figures["versions"]


def test_command_of_held_out_figures_can_be_given_again(sim_generate: Run):
    assert sim_generate("--held-out", "--json", "figures.json") == 0
    command = json.loads(Path("figures.json").read_text())["command"]
    assert "--held-out" in command
    assert "--seed" not in command


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_full_disk_under_the_json_is_one_line(
    sim_generate: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    @contextmanager
    def on_full_disk(path: Path) -> Iterator[BinaryIO]:
        with open("/dev/full", "wb", buffering=0) as stream:
            yield stream

    monkeypatch.setattr(sim_module, "atomic_write", on_full_disk)
    assert sim_generate("--count", "40", "--seed", "7", "--json", "figures.json") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "ppd sim: cannot write figures.json: No space left on device"


def test_no_rate_is_claimed_where_nothing_was_written(
    sim_generate: Run, recorder: Recorder, capsys: pytest.CaptureFixture[str]
):
    recorder.result = GenerationResult(frames_written=0, frames_found=40, seconds=0.0)
    assert sim_generate("--count", "40", "--seed", "7", "--json", "figures.json") == 1
    captured = capsys.readouterr()
    assert captured.out == "40 frames: out\n"
    assert "figures.json not written: the frames were all there" in captured.err
    assert not Path("figures.json").exists()


@pytest.mark.parametrize("package", ["mujoco", "webdataset"])
def test_missing_package_is_one_sentence(
    sim_generate: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
):
    monkeypatch.setitem(sys.modules, package, None)
    assert sim_generate("--count", "40", "--seed", "7") == 2
    assert capsys.readouterr().err == (
        f"ppd sim: simulation needs {package}: pip install 'ppd_ros[sim]'\n"
    )
