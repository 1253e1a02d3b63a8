"""What `import ppd_core` costs, and what it never pulls in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ppd_core

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"rclpy", "timm", "torchvision", "matplotlib", "cv2", "skimage", "huggingface_hub", "PIL"}
ALL_HELP = """
import contextlib, io, re
from ppd_core.cli import main
with contextlib.redirect_stdout(io.StringIO()) as printed:
    assert main(["--help"]) == 0
commands = re.findall(r"^    (\\w+) ", printed.getvalue(), re.M)
assert "depth" in commands, printed.getvalue()
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([command, "--help"]) == 0
"""


def packages_after(program: str) -> set[str]:
    """The packages that are loaded when the program has run."""
    report = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    out = subprocess.run(
        [sys.executable, "-c", f"{program}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
    )
    return set(out.stdout.split())


def test_all_that_import_offers_comes_without_what_only_some_of_it_needs():
    # `import *` fails at a name that is not there.
    assert not packages_after("from ppd_core import *\nDepthPipeline") & HEAVY


def test_the_package_and_the_help_of_each_command_come_without_torch():
    loaded = packages_after(f"import ppd_core\n{ALL_HELP}")
    assert not loaded & (HEAVY | {"torch", "numpy"})


def test_a_name_that_the_package_has_not_is_named():
    with pytest.raises(AttributeError, match="'ppd_core' has no attribute 'DeepPipeline'"):
        ppd_core.DeepPipeline  # noqa: B018


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
