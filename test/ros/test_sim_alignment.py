"""The simulated RGB-D camera, the node and nano, each as a user starts it: metres as they are."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from ppd_core.depth_reading import image_to_depth
from ppd_ros.children import Child, domain_environment, ended_children

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")


ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
RELIABLE = [
    word
    for topic in ("image", "depth_in", "camera_info")
    for word in ("-p", f"qos_overrides./{topic}.subscription.reliability:=reliable")
]


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def start(module, *arguments):
            child = Child(
                module,
                f"ppd_ros.{module}",
                ["--ros-args", *arguments],
                log_folder=tmp_path,
                environment=environment,
            )
            children.append(child)
            return child

        yield start


def test_metres_of_a_simulated_depth_camera_are_the_truth(rendering, world, start):
    depth = world.subscribe(Image, "/ppd/depth/image")
    truths = world.subscribe(Image, "/truth", qos=100)
    health = world.subscribe(DiagnosticArray, "/diagnostics")
    node = start("depth_node", "-p", "model:=nano", "-p", "alignment.source:=depth", *RELIABLE)
    start("sim_camera_node", "-p", "rate_hz:=2.0", "-p", "motion_speed:=0.0")

    def is_done():
        assert node.status is None, node.output
        is_healthy = any(m.status[1].message == "metres from depth" for m in health)
        return len(depth) > 1 and truths and is_healthy

    world.spin_until(is_done, "depth, its truth, and health", timeout_s=DEADLINE_S)
    metres, truth = image_to_depth(depth[-1]), image_to_depth(truths[-1])
    is_known = np.isfinite(truth)
    assert np.isfinite(metres[is_known]).mean() > 0.99
    errors = np.abs(metres - truth)[is_known] / truth[is_known]
    # No more can be asked of nano; a scale that is wrong gives far more.
    assert np.nanmedian(errors) < 0.1
    node.send(signal.SIGINT)
    assert node.wait(DEADLINE_S) == 0
    assert " 0 bad, 0 failed" in node.output
