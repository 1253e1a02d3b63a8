from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from torch import nn

from ppd_core.training.checkpoints import (
    CheckpointError,
    list_checkpoints,
    load_training_state,
    publish,
    save_training_state,
    step_of,
    write_checkpoint,
)
from ppd_core.training.config import OptimizerConfig
from ppd_core.training.optimizer import averaged_copy, build_optimizer


def write(output: Path, step: int, keep: int = 3) -> Path:
    return write_checkpoint(
        output, step, lambda folder: (folder / "file").write_text(str(step)) and None, keep
    )


def steps(output: Path) -> list[int]:
    return [step_of(path) for path in list_checkpoints(output)]


def learner(seed: int) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    return module, averaged_copy(module), build_optimizer(module, OptimizerConfig(lr=0.1))


def learn(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    module(torch.arange(8.0).view(2, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_newest_few_stay(tmp_path: Path) -> None:
    for step in (1, 2, 10, 9_999_999, 10_000_000):
        write(tmp_path, step, keep=2)
    assert steps(tmp_path) == [9_999_999, 10_000_000]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10000000", "step-9999999"]


def test_a_step_written_again_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = write_checkpoint(
        tmp_path, 5, lambda folder: (folder / "file").write_text("new") and None, 3
    )
    assert (path / "file").read_text() == "new"
    assert steps(tmp_path) == [5]


def test_what_is_unfinished_does_not_count_and_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".step-0000007.1234.part").mkdir()
    (tmp_path / "step-last").mkdir()
    (tmp_path / "step-0000009").touch()
    assert list_checkpoints(tmp_path) == []
    write(tmp_path, 3)
    assert steps(tmp_path) == [3]
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(tmp_path, 2, fail, keep=1)
    message = str(caught.value)
    assert "step-0000002" in message and "No space left" in message
    assert f"the last one is {tmp_path / 'step-0000001'}" in message
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001"]
    assert (tmp_path / "step-0000001" / "file").read_text() == "1"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="there is none yet"):
        write(tmp_path / "file", 1)


def test_a_restored_learner_goes_on_bitwise(tmp_path: Path) -> None:
    module, average, optimizer = learner(0)
    learn(module, optimizer)
    save_training_state(tmp_path, module, average, optimizer, {"step": 1, "note": [0.1]})
    other, other_average, other_optimizer = learner(1)
    state = load_training_state(tmp_path, other, other_average, other_optimizer)
    assert state == {"step": 1, "note": [0.1]}
    for one, one_optimizer in ((module, optimizer), (other, other_optimizer)):
        learn(one, one_optimizer)
    for ours, theirs in ((module, other), (average, other_average)):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(old, new) for old, new in pairs)


def test_training_on_never_writes_into_the_checkpoint(tmp_path: Path) -> None:
    module, average, optimizer = learner(0)
    learn(module, optimizer)
    save_training_state(tmp_path, module, average, optimizer, {"step": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    load_training_state(tmp_path, module, average, optimizer)
    learn(module, optimizer)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    module, average, optimizer = learner(0)
    learn(module, optimizer)
    save_training_state(tmp_path, module, average, optimizer, {"step": 1})
    other = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_training_state(
            tmp_path, other, averaged_copy(other), build_optimizer(other, OptimizerConfig())
        )


def test_a_published_file_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        publish(tmp_path / text, tmp_path / "model")
        assert (tmp_path / "model").read_text() == text
    assert (tmp_path / "one").read_text() == "one"
    with pytest.raises(CheckpointError, match="cannot be written"):
        publish(tmp_path / "absent", tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "one", "two"]
