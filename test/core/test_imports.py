"""What `import ppd_core` costs, and what it never pulls in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"rclpy", "timm", "torchvision", "matplotlib", "cv2", "skimage", "huggingface_hub", "PIL"}

MEASURE = """
import sys, time
import torch
start = time.process_time()  # Not by the clock on the wall: others may use the machine, too.
import ppd_core
print(time.process_time() - start)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def run_measurement() -> tuple[float, set[str]]:
    out = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
    ).stdout.splitlines()
    return float(out[0]), set(out[1].split())


def test_import_is_cheap_and_light():
    measurements = [run_measurement() for _ in range(3)]
    assert min(seconds for seconds, _ in measurements) <= 0.2
    assert not measurements[0][1] & HEAVY


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_core_never_imports_ros():
    sources = sorted((ROOT / "ppd_core").rglob("*.py"))
    assert sources
    for path in sources:
        foreign = {
            name
            for name in imported_packages(path)
            if name in {"rclpy", "ppd_ros", "launch", "launch_ros", "cv_bridge", "tf2_ros"}
            or name.endswith(("_msgs", "_srvs", "_interfaces"))
        }
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"
