"""`benchmarks/gpu.py`: whatever becomes of one stage, the others and their results stay."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", program)


CHILD = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
WITH_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {CHILD!r}])"


def is_running(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_a_stage_that_fails_hangs_or_is_not_there_takes_nothing_from_the_others(
    benchmark, tmp_path
):
    stages = benchmark("stages")
    summary, told = tmp_path / "new" / "gpu.json", []
    result = tmp_path / "result"
    given = [
        stages.Stage("failing", python("print('no such device'); raise SystemExit(3)"), 60),
        stages.Stage("hanging", python(WITH_CHILD), 3),
        stages.Stage("missing", (str(tmp_path / "nothing"),), 60),
        stages.Stage("last", python(f"open({str(result)!r}, 'w'); print('1 passed')"), 60),
    ]
    ended = stages.run_stages(
        given, logs=tmp_path / "logs", summary=summary, limit_s=120, say=told.append
    )
    outcomes = {name: one.outcome for name, one in ended.items()}
    assert list(outcomes.values()) == ["failed", "late", "not begun", "done"]
    content = json.loads(summary.read_text())
    assert {name: content[f"{name}.outcome"] for name in outcomes} == outcomes
    assert content["last.last_line"] == "1 passed" and result.exists()
    assert "  | no such device" in "\n".join(told)
    assert not is_running(int((tmp_path / "logs" / "hanging.log").read_text()))


def test_each_end_is_written_before_the_next_begins(benchmark, tmp_path):
    stages = benchmark("stages")
    summary = tmp_path / "gpu.json"
    looks = python(f"print(open({str(summary)!r}).read().count('outcome'))")
    given = [stages.Stage("first", python(""), 60), stages.Stage("second", looks, 60)]
    ended = stages.run_stages(given, logs=tmp_path, summary=summary, limit_s=60, say=str)
    assert ended["second"].last_line == "1"


def test_when_all_time_is_spent_a_stage_is_not_begun(benchmark, tmp_path):
    stages = benchmark("stages")
    given = [stages.Stage("late", python(""), 60)]
    ended = stages.run_stages(
        given, logs=tmp_path, summary=tmp_path / "gpu.json", limit_s=0, say=str
    )
    assert ended["late"].outcome == "not begun"


def test_the_limits_of_a_gpu_s_stages_are_nine_minutes_and_each_of_them_is_rehearsed(
    benchmark, tmp_path
):
    gpu = benchmark("gpu")
    real, rehearsed = gpu.gpu_stages(tmp_path), gpu.rehearsal_stages(tmp_path)
    assert sum(stage.limit_s for stage in real) <= gpu.LIMIT_S == 9 * 60

    def scripts(stages):
        return {word for stage in stages for word in stage.command if word.endswith(".py")}

    assert scripts(real) == scripts(rehearsed)
    assert {stage.name for stage in rehearsed} <= {stage.name for stage in real}


def test_what_overlaps_counts_once(benchmark):
    covered = benchmark("frame_profile").covered
    assert covered([(4, 5), (0, 2), (1, 3), (1, 2)]) == 4
    assert covered([]) == 0


def test_random_weights_give_depth_that_is_not_the_same_everywhere(benchmark, tmp_path):
    rounding = benchmark("rounding")
    path = rounding.random_checkpoint("tiny", tmp_path / "random.safetensors", "cpu")
    args = SimpleNamespace(device="cpu", processing_area=32 * 48)
    found = rounding.depths(path, args, rounding.Way("eager", torch.float32))
    assert found.shape == (rounding.IMAGES, 32, 48)
    assert torch.isfinite(found).all() and found.std() > 0.01
