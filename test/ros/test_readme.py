"""The README's tables of the node say what the node does."""

from __future__ import annotations

import re
from pathlib import Path

from ppd_ros import sim_camera_node
from ppd_ros.parameters import SPECS

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
    source = (Path(__file__).parents[2] / "ppd_ros" / "depth_node.py").read_text(encoding="utf-8")
    offered = {f"/ppd/{name}" for name in re.findall(r'"~/([\w/]+)"', source)}
    documented = {name.strip("`") for name, *_ in rows_of("Topics")}
    assert documented == offered | {"image` (in)", "camera_info` (in)"}


def test_the_simulated_camera_s_tables_are_its_topics_and_parameters():
    source = Path(sim_camera_node.__file__).read_text(encoding="utf-8")
    topics = re.search(r"outputs = {(.*?)}", source, re.DOTALL)[1]
    declared = [(f"`{spec.name}`", shown_default(spec)) for spec in sim_camera_node.SPECS]
    rows = [tuple(row[:2]) for row in rows_of("Simulated camera")]
    assert {name.strip("`") for name, _ in rows[:4]} == set(re.findall(r'"(\w+)":', topics))
    assert rows[4:] == declared
