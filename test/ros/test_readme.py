"""The README's tables of the node say what the node does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ppd_core.alignment.config import SOURCES
from ppd_ros import health, sim_camera_node
from ppd_ros.camera_topics import LIDAR, CameraTopics
from ppd_ros.children import domain_environment
from ppd_ros.outputs import ALIGNMENT_TOPIC, OUTPUTS
from ppd_ros.parameters import SPECS

PACKAGE = Path(__file__).parents[2] / "ppd_ros"
START_S = 60.0
SERVICES = {"~/estimate_once", "~/reset_alignment"}
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rows_of(heading: str) -> list[list[str]]:
    section = README.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown_default(spec) -> str:
    default = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
    default = list(default) if isinstance(default, tuple) else default
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
    topics = CameraTopics("")
    written = {topics.private(output.topic) for output in OUTPUTS.values()}
    written |= {topics.private(ALIGNMENT_TOPIC), *SERVICES}
    written = {name.replace("~", "/ppd") for name in written}
    read = {topics.image, topics.camera_info, topics.depth_in, topics.depth_camera_info, LIDAR}
    documented = {name.split("`")[1] for name, *_ in rows_of("Topics")}
    assert documented == written | read | {health.TOPIC}


def test_the_services_are_all_there_are():
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py"))
    named = set(re.findall(r'create_service\(\w+, "(~/[\w/]+)"', sources))
    named |= {f"~/{name}" for name in re.findall(r'topics\.private\("(\w+)"\)', sources)}
    assert named == SERVICES


def test_the_launch_arguments_are_all_told_of():
    launch = (Path(__file__).parents[2] / "launch" / "depth.launch.py").read_text(encoding="utf-8")
    offered = re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', launch)
    assert len(offered) > 10
    documented = [name.strip("`") for name, *_ in rows_of("Launch arguments")]
    assert sorted(documented) == sorted(offered)


def test_the_reader_reads_a_frame(world, domain_id, search_path, tmp_path):
    """What the README gives to a second terminal, in a process of its own."""
    code = README.split("```python\nimport numpy as np, rclpy\n", 1)[1].split("```", 1)[0]
    script = tmp_path / "reader.py"
    script.write_text(f"import numpy as np, rclpy\n{code}")
    node, camera, _ = world.active(outputs=(), alignment__source="constant")
    environment = {**domain_environment(domain_id), "PYTHONPATH": search_path()}
    reader = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:

        def has_ended():
            camera.send()
            return reader.poll() is not None

        world.spin_until(has_ended, "it reads a frame", timeout_s=START_S)
        said = reader.communicate()[0]
    finally:
        reader.kill()
    assert reader.returncode == 0
    assert said.startswith("(6, 8) ")
    assert said.rstrip().endswith("(6, 8, 3)")
    assert node.cameras[0].statistics.counts["out"] > 0


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
