"""`ppd bag` that is ended from outside, and begun again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from ppd_core.cli import main

DEADLINE_S = 120.0


def _words(source: Path, out: Path) -> list[str]:
    words = ["bag", str(source), "-o", str(out), "--model", "nano", "--device", "cpu"]
    # As the recording's sensor was made: at another size nano sees something else.
    return [*words, "--steps", "1", "--processing-area", str(64 * 48), "--keep", "none"]


def _started(source: Path, out: Path) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ppd_core.cli", *_words(source, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _wait_for_frames(process: subprocess.Popen[bytes], count: int) -> None:
    """Until so many images are done, as the progress bar has it."""
    assert process.stderr is not None
    said, deadline_s = b"", time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        said += os.read(process.stderr.fileno(), 4096)
        done = [int(number) for number in re.findall(rb"(\d+)/\d+ \[", said)]
        if max(done, default=0) >= count:
            return
        assert process.poll() is None, said
    raise AssertionError(f"no {count} frames within {DEADLINE_S} s: {said!r}")


def test_ctrl_c_makes_safe_what_is_done(
    nano: Any, tools: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tools.write_recording(tmp_path / "in", nano, 60)
    process = _started(source, tmp_path / "out")
    _wait_for_frames(process, 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert b"ended by a signal; the same command goes on from here" in said
    done = len(tools.read_topic(tmp_path / "out", "/ppd/points"))
    assert 3 <= done < 60
    assert main(_words(source, tmp_path / "out")) == 0
    assert f"going on after {done} images that are done" in capsys.readouterr().err
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == 60


def test_a_run_that_was_killed_outright_goes_on(nano: Any, tools: Any, tmp_path: Path) -> None:
    source = tools.write_recording(tmp_path / "in", nano, 60)
    process = _started(source, tmp_path / "out")
    _wait_for_frames(process, 3)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert main(_words(source, tmp_path / "out")) == 0
    stamps = tools.stamps_ns(tools.read_topic(tmp_path / "out", "/ppd/points"))
    assert stamps == [tools.BEGIN_NS + index * tools.PERIOD_NS for index in range(60)]
