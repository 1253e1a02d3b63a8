"""The README's tables of the node say what the node does."""

from __future__ import annotations

import re
from pathlib import Path

from ppd_core.alignment.config import SOURCES
from ppd_ros import health, sim_camera_node
from ppd_ros.parameters import SPECS

PACKAGE = Path(__file__).parents[2] / "ppd_ros"
SPEAKING = ("depth_node.py", "outputs.py", "anchors.py")
"""Modules that name a topic or a service of the depth node."""
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rows_of(heading: str) -> list[list[str]]:
    section = README.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown_default(spec) -> str:
    default = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
    return f"`{default if default != '' else chr(34) * 2}`"


def test_the_parameter_table_is_the_parameters():
    documented = [(name, default, when) for name, default, when, _ in rows_of("Parameters")]
    declared = []
    for spec in SPECS:
        when = "start-up" if spec.is_read_only else "any time"
        when = "unconfigured" if spec.is_fixed_by_configure else when
        declared.append((f"`{spec.name}`", shown_default(spec), when))
    assert documented == declared


def test_the_topic_table_names_what_the_node_offers():
    sources = [(PACKAGE / name).read_text(encoding="utf-8") for name in SPEAKING]
    offered = {f"/ppd/{name}" for name in re.findall(r'"~/([\w/]+)"', "".join(sources))}
    heard = set(re.findall(r'\b(?:Image|CameraInfo|PointCloud2), "(\w+)"', "".join(sources)))
    documented = {name.split("`")[1] for name, *_ in rows_of("Topics")}
    assert heard == {"image", "camera_info", "depth_in", "lidar_in"}
    assert documented == offered | heard | {health.TOPIC}


def test_the_sources_of_metres_are_explained():
    section = README.split("### Which source of metres?\n", 1)[1].split("\n#", 1)[0]
    assert {name for name in SOURCES if f"`{name}`" in section} == set(SOURCES)


def test_the_simulated_camera_s_tables_are_its_topics_and_parameters():
    source = Path(sim_camera_node.__file__).read_text(encoding="utf-8")
    topics = re.search(r"outputs = {(.*?)}", source, re.DOTALL)[1]
    declared = [(f"`{spec.name}`", shown_default(spec)) for spec in sim_camera_node.SPECS]
    rows = [tuple(row[:2]) for row in rows_of("Simulated camera")]
    assert {name.strip("`") for name, _ in rows[:4]} == set(re.findall(r'"(\w+)":', topics))
    assert rows[4:] == declared
