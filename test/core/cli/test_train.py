"""`ppd train` from the command line: whole small runs, and what may end them."""

from __future__ import annotations

import errno
import gc
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppd_core.cli import main
from ppd_core.data.shards import DepthSample, shard_name, write_shard
from ppd_core.pipeline import DepthPipeline
from ppd_core.weights import read_tensors

CONFIGS = Path(__file__).parents[3] / "config" / "train"
TIMINGS = {"samples_per_s", "data_wait_share"}
DEADLINE_S = 150
KILO = 1024


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_sample(number: int) -> DepthSample:
    rng = np.random.default_rng(number)
    depth = np.linspace(3, 4, 32, dtype=np.float32)[:, None].repeat(48, axis=1)
    image = np.full((32, 48, 3), 90, np.uint8)
    top, left = rng.integers(4, 16, 2)
    depth[top : top + 12, left : left + 16] = rng.uniform(1, 2)
    image[top : top + 12, left : left + 16] = rng.integers(120, 255, 3)
    return DepthSample(f"{number:09d}-00", image, depth, None, {})


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(3):
        numbers = range(shard * 4, shard * 4 + 4)
        write_shard(folder / shard_name(shard), (make_sample(number) for number in numbers))
    return folder


def words(name: str, output: Path, shards: Path, *more: str) -> list[str]:
    """The command line of a small run of a shipped config."""
    changes = [
        f"data.sources=[{{urls: {shards}}}]",
        f"validation.sources=[{{urls: {shards}}}]",
        "validation.frames=3",
        "data.size=[32, 48]",
        "data.batch_size=2",
        "data.num_workers=1",
        "log_every=1",
        "optimizer.warmup_steps=2",
        "init_checkpoint=null",
    ]
    sets = [word for change in changes for word in ("--set", change)]
    return ["train", str(CONFIGS / f"{name}.yaml"), "-o", str(output), *sets, *more]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ppd_core.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        start_new_session=True,
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(f"step {step} "):
            return
    raise AssertionError(f"the run ended before step {step}: {''.join(seen)}")


def logged(output: Path) -> list[dict[str, Any]]:
    """The lines of the log, less what depends on the clock."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in TIMINGS}
        for line in lines
        if "validation" not in line
    ]


def assert_same_tensors(first: Path, second: Path) -> None:
    ours, theirs = read_tensors(first), read_tensors(second)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def small_flow(prompt: Path) -> list[str]:
    sizes = {"hidden_size": 32, "depth": 2, "num_heads": 2}
    changes = [f"prompt_checkpoint={prompt}", *(f"model.{k}={v}" for k, v in sizes.items())]
    return [word for change in changes for word in ("--set", change)]


@pytest.fixture(scope="module")
def prompt_run(tmp_path_factory, shards: Path) -> Path:
    """A finished regression of 3 steps."""
    output = tmp_path_factory.mktemp("prompt")
    assert main(words("nano_prompt", output, shards, "--limit", "3")) == 0
    return output


def test_nano_trains_and_its_model_loads(tmp_path: Path, shards: Path, prompt_run: Path) -> None:
    prompt = f"prompt_checkpoint={prompt_run / 'prompt.safetensors'}"
    arguments = words("nano", tmp_path / "nano", shards, "--limit", "50", "--set", prompt)
    assert main(arguments) == 0
    losses = [line["loss"] for line in logged(tmp_path / "nano")]
    assert len(losses) == 50
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    last = json.loads((tmp_path / "nano" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 50
    assert {"absrel", "delta1", "x0_error", "x0_error_other_prompt"} <= last["validation"].keys()
    pipeline = DepthPipeline.from_pretrained(
        tmp_path / "nano" / "pipeline.safetensors", device="cpu"
    )
    result = pipeline(np.zeros((32, 48, 3), np.uint8))
    assert result.relative_depth.shape == (32, 48) and pipeline.is_trained


@pytest.mark.parametrize("is_cached", ["true", "false"])
def test_a_killed_run_goes_on_as_if_nothing_happened(
    tmp_path: Path, shards: Path, prompt_run: Path, is_cached: str
) -> None:
    more = [
        *small_flow(prompt_run / "prompt.safetensors"),
        *("--set", "checkpoints.every=3", "--set", f"data.cache={is_cached}"),
        *("--set", "optimizer.accumulation=2", "--set", "log_every=2", "--limit", "12"),
    ]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert main(words("nano", straight, shards, *more)) == 0

    process = start(words("nano", killed, shards, *more))
    try:
        # The line is written before checkpoint 6: what is there is checkpoint 3, or 6 half done.
        wait_for_step(process, 6)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
    assert main(words("nano", killed, shards, *more, "--resume")) == 0

    assert logged(killed) == logged(straight)
    assert [line["step"] for line in logged(killed)] == [2, 4, 6, 8, 10, 12]
    for name in ("weights", "average", "optimizer", "pipeline"):
        last = Path("step-0000012") / f"{name}.safetensors"
        assert_same_tensors(killed / last, straight / last)
    assert_same_tensors(killed / "pipeline.safetensors", straight / "pipeline.safetensors")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_a_signal_ends_the_run_after_a_checkpoint(
    tmp_path: Path, shards: Path, number: signal.Signals, status: int
) -> None:
    process = start(words("nano_prompt", tmp_path, shards))
    try:
        wait_for_step(process, 2)
        # The whole group, as a terminal does: workers must not die under the run.
        os.killpg(process.pid, number)
        _, rest = process.communicate(timeout=DEADLINE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status, rest
    assert "Traceback" not in rest
    (checkpoint,) = tmp_path.glob("step-*")
    steps = [line["step"] for line in logged(tmp_path)]
    assert steps[-1] == int(checkpoint.name.removeprefix("step-")) >= 2


def test_a_folder_with_a_run_is_not_overwritten(capsys, shards: Path, prompt_run: Path) -> None:
    before = (prompt_run / "log.jsonl").read_text()
    assert main(words("nano_prompt", prompt_run, shards, "--limit", "4")) == 1
    assert "holds a run up to step 3: --resume" in capsys.readouterr().err
    assert (prompt_run / "log.jsonl").read_text() == before


@pytest.fixture
def file_size_limit() -> Iterator[Any]:
    """Sets how large a file may become (None = as before): past it, writing fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        soft = before[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fails_ends_the_run_with_its_last_checkpoint_intact(
    tmp_path: Path, capsys, shards: Path, file_size_limit: Any
) -> None:
    # No workers: the limit holds for the shared memory that they hand batches over in, too.
    command = [*words("nano_prompt", tmp_path, shards), "--set", "data.num_workers=0"]
    assert main([*command, "--limit", "2"]) == 0
    before = contents(tmp_path / "step-0000002")
    capsys.readouterr()

    file_size_limit(100 * KILO)
    assert main([*command, "--limit", "3", "--resume"]) == 1
    file_size_limit(None)

    (problem,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("ppd train:")
    ]
    assert "step-0000003 cannot be written" in problem
    assert f"the last one is {tmp_path / 'step-0000002'}" in problem
    assert before == {
        path.name: path.read_bytes() for path in (tmp_path / "step-0000002").iterdir()
    }
    assert not list(tmp_path.glob(".*"))
    assert main([*command, "--limit", "3", "--resume"]) == 0


def test_a_run_that_fails_ends_its_workers(
    tmp_path: Path, capsys, monkeypatch, shards: Path
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ppd_core.training.run.export", fail)
    gc.disable()  # Only what is closed ends; the interpreter's exit collects nothing, either.
    try:
        assert main(words("nano_prompt", tmp_path, shards, "--limit", "2")) == 1
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()
    assert "No space left on device" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys, shards: Path) -> None:
    (tmp_path / "file").touch()
    assert main(words("nano_prompt", tmp_path / "file" / "run", shards)) == 1
    assert capsys.readouterr().err.startswith("ppd train: ")


def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(
    tmp_path: Path, capsys, shards: Path
) -> None:
    words_ = words("nano_prompt", tmp_path, shards, "--set", "optimizer.lr=1e30", "--limit", "9")
    assert main([*words_, "--set", "optimizer.clip_norm=null"]) == 1
    assert "the loss must be finite, got nan" in capsys.readouterr().err
    assert not list(tmp_path.glob("step-*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "optimizer.rate=1"], "unknown key optimizer.rate"),
        (["--set", "steps=0"], "steps must be >= 1, got 0"),
    ],
)
def test_a_wrong_config_is_wrong_usage(
    tmp_path: Path, capsys, shards: Path, more: list[str], message: str
) -> None:
    assert main(words("nano_prompt", tmp_path / "run", shards, *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_shards_are_named(tmp_path: Path, capsys) -> None:
    absent = tmp_path / "absent"
    assert main(words("nano_prompt", tmp_path / "run", absent)) == 1
    assert str(absent) in capsys.readouterr().err
