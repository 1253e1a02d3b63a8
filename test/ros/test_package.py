from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
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


def test_the_worker_needs_no_ros(run_python):
    code = (
        "import sys, ppd_ros.worker, ppd_ros.children\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('rclpy', 'sensor_msgs')])"
    )
    done = run_python(code, ROOT)
    assert done.stdout.strip() == "[]", done.stderr


KEY_OF = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "huggingface_hub": "python3-huggingface-hub-pip",
    "skimage": "python3-skimage",
    "tf2_ros": "tf2_ros_py",
    "timm": "python3-timm-pip",
    "torch": "python3-pytorch-pip",
    "torchvision": "python3-pytorch-pip",
}
"""Module -> rosdep key, where it is neither the module's name nor `python3-` and that."""
WITHOUT_KEY = {
    "safetensors": "timm requires it",
    "torch_tensorrt": "asked for by name alone, and not on every machine",
    "rosbags": "stands in for cv_bridge where there is none; reads and writes recordings",
    # At a desk, not on a robot: recordings, the viewer, videos, photos of phones.
    **dict.fromkeys(("mcap", "zstandard", "lz4", "rerun", "av", "pillow_heif"), "optional"),
    "vggt": "a rival of ppd eval, on no index",
    # Simulator and training, which a robot does not need.
    **dict.fromkeys(
        ("mujoco", "webdataset", "accelerate", "h5py", "scipy", "tensorboard"), "optional"
    ),
}


def imported_modules():
    """Top-level names that the two packages import, wherever in a file."""
    for file in (path for name in ("ppd_core", "ppd_ros") for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module.split(".")[0]


def test_package_xml_names_all_that_is_imported():
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    named = {element.text for tag in ("depend", "exec_depend") for element in root.iter(tag)}
    own = {"ppd_core", "ppd_ros", *sys.stdlib_module_names, *WITHOUT_KEY}
    modules = set(imported_modules()) - own
    assert {"rclpy", "torch", "sensor_msgs"} <= modules
    keys = {KEY_OF.get(name, name) for name in modules}
    assert {key for key in keys if not {key, f"python3-{key}"} & named} == set()


def test_colcon_installs_every_program_of_pip_and_of_the_docs():
    cmake, project = (ROOT / "CMakeLists.txt").read_text(), (ROOT / "pyproject.toml").read_text()
    installed = dict(re.findall(r"^install_program\((\w+) ([\w.]+) ", cmake, re.MULTILINE))
    scripts = re.findall(r'^ppd[\w-]* = "([\w.]+):main"', project, re.MULTILINE)
    assert "ppd_ros.bag_publisher" in scripts
    assert set(scripts) <= set(installed.values())
    assert all(callable(importlib.import_module(name).main) for name in installed.values())
    texts = [path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    named = {name for text in texts for name in re.findall(r"ros2 run ppd_ros (\w+)", text)}
    assert {"view", "bag_publisher"} <= named
    assert named <= set(installed)
