from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_python(search_path):
    def run(code, *folders):
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": search_path(*folders)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_generated_messages_are_found_behind_the_source_tree(tmp_path, run_python):
    generated = tmp_path / "ppd_ros" / "msg"
    generated.mkdir(parents=True)
    (tmp_path / "ppd_ros" / "__init__.py").write_text("")
    (generated / "__init__.py").write_text("class Alignment:\n    pass\n")
    code = (
        "import ppd_ros.worker\n"
        "from ppd_ros.msg import Alignment\n"
        "from ppd_ros.conversions import alignment_type\n"
        "print(ppd_ros.worker.__file__, alignment_type() is Alignment)"
    )
    done = run_python(code, ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(ROOT / "ppd_ros" / "worker.py"), "True"]


def test_importing_the_package_imports_nothing_else(run_python):
    code = (
        "import sys, ppd_ros; print([m for m in ('torch', 'rclpy', 'numpy') if m in sys.modules])"
    )
    done = run_python(code, ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_worker_and_diagnostics_need_no_ros(run_python):
    code = (
        "import sys, ppd_ros.worker, ppd_ros.diagnostics, ppd_ros.children\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('rclpy', 'sensor_msgs')])"
    )
    done = run_python(code, ROOT)
    assert done.stdout.strip() == "[]", done.stderr
