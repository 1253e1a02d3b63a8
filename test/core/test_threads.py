from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from ppd_core import threads


def test_the_threads_of_a_core_count_once(tmp_path):
    for processor, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / f"{processor}").write_text(siblings + "\n")
    names = str(tmp_path / "{}")
    assert threads._physical_cores({0, 1, 2, 3}, names) == 2
    assert threads._physical_cores({0, 2}, names) == 1
    assert threads._physical_cores({0, 7, 8}, names) == 3  # nothing is known of two


@pytest.mark.parametrize(
    "text, expected", [("max 100000", math.inf), ("250000 100000", 2.5), ("50000 100000", 0.5)]
)
def test_a_container_s_share_is_read(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert threads._quota(tmp_path / "cpu.max", tmp_path) == expected


@pytest.mark.parametrize("quota, expected", [("-1", math.inf), ("300000", 3.0)])
def test_an_old_container_s_share_is_read(tmp_path, quota, expected):
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000")
    assert threads._quota(tmp_path / "none", tmp_path) == expected


def test_no_container_no_limit(tmp_path):
    assert threads._quota(tmp_path / "none", tmp_path / "none") == math.inf


@pytest.mark.parametrize("quota, expected", [(0.3, 1), (1.5, 2), (2.0, 2), (math.inf, 4)])
def test_a_share_of_a_core_is_a_thread(monkeypatch, quota, expected):
    monkeypatch.setattr(threads, "_quota", lambda *_: quota)
    monkeypatch.setattr(threads, "_physical_cores", lambda _: 4)
    assert threads.usable_cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_a_bound_process_takes_the_cores_that_it_has():
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}])\n"
        "from ppd_core.threads import set_threads; print(set_threads())"
    )
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr


def test_what_the_user_set_wins(monkeypatch):
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: pytest.fail(f"set {count}"))
    assert threads.set_threads() == torch.get_num_threads()
