from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ppd_ros.sim_camera_node import FRAME_ID

RVIZ = Path(__file__).parents[2] / "config" / "ppd.rviz"


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
