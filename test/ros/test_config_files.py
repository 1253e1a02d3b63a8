from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from ppd_core.alignment.config import SOURCES
from ppd_ros.sim_camera_node import FRAME_ID, SPECS

ROOT = Path(__file__).parents[2]
RVIZ = ROOT / "config" / "ppd.rviz"


@pytest.fixture(scope="module")
def displays():
    """RViz's displays by their class."""
    manager = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == FRAME_ID  # shows the simulated camera
    return {display["Class"].rpartition("/")[2]: display for display in manager["Displays"]}


def test_rviz_shows_the_depth_topic(displays):
    topic = displays["Image"]["Topic"]
    assert topic["Value"] == "/ppd/depth/image"
    assert topic["Reliability Policy"] == "Reliable"


def test_rviz_shows_the_points_in_their_colours(displays):
    display = displays["PointCloud2"]
    assert display["Topic"]["Value"] == "/ppd/points"
    assert display["Topic"]["Reliability Policy"] == "Reliable"
    assert display["Color Transformer"] == "RGB8"
    assert all(shown["Enabled"] for shown in displays.values())


def test_launch_offers_every_source_of_metres():
    text = (ROOT / "launch" / "depth.launch.py").read_text(encoding="utf-8")
    choices = re.search(r'"alignment_source",.*?choices=(\[.*?\])', text, re.DOTALL)[1]
    assert ast.literal_eval(choices) == ["", *SOURCES]


def test_launch_arguments_of_the_simulated_camera_are_its_parameters():
    """Read, not run: where ROS comes from wheels there is no `launch`."""
    tree = ast.parse((ROOT / "launch" / "sim.launch.py").read_text(encoding="utf-8"))
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PARAMETERS"
    )
    specs = {spec.name: spec for spec in SPECS}
    for key, value in zip(table.keys, table.values, strict=True):
        kind, default, _ = value.elts
        spec = specs[key.value]
        assert kind.id == type(spec.default).__name__
        assert default.value == str(spec.default)
