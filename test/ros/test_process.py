"""Nodes in processes of their own: signals in every state, the exit status, bad parameters."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image

from ppd_ros.children import Child, domain_environment, ended_children

ROOT = Path(__file__).parents[2]
START_S = 60.0
FOREVER_S = 3600.0
"""Of a wait that must end by something else: longer than the test may take."""

# A node whose model takes as long to load, or to run, as the command line says; with a third word
# it is only configured.
SLOW_NODE = """
import sys
import time

from ppd_ros.depth_node import DepthNode
from ppd_ros.process import leave, run_node

load_s, run_s = map(float, sys.argv[1:3])


class SlowPipeline:
    def batch(self, *args, **kwargs):
        print("MODEL RUNS", flush=True)
        time.sleep(run_s)
        raise RuntimeError("the model was not meant to end")


def load(settings):
    print("MODEL LOADS", flush=True)
    time.sleep(load_s)
    return SlowPipeline()


def make_node(is_ending):
    node = DepthNode(load_pipeline=load, is_ending=is_ending)
    if sys.argv[3] == "inactive":
        node.trigger_configure()
        print("IS INACTIVE", flush=True)
    return node


if __name__ == "__main__":
    leave(run_node(make_node))
"""


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    """Starts a module as a process in the test's domain, and ends it with the test."""
    (tmp_path / "slow_node.py").write_text(SLOW_NODE)
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(tmp_path, ROOT)
    with ended_children() as children:

        def start(module, *arguments, **changes):
            child = Child(
                f"child{len(children)}",
                module,
                arguments,
                log_folder=tmp_path,
                environment={**environment, **changes},
            )
            children.append(child)
            return child

        yield start


def wait_for_words(child, words, timeout_s=START_S):
    deadline_s = time.monotonic() + timeout_s
    while words not in child.output:
        assert child.status is None, f"ended with {child.status}:\n{child.output}"
        assert time.monotonic() < deadline_s, f"never said {words!r}:\n{child.output}"
        time.sleep(0.02)


def slow_node(start, *, load_s=0.0, run_s=0.0, state="active"):
    autostart = "true" if state == "active" else "false"
    arguments = [str(load_s), str(run_s), state, "--ros-args", "-p", f"autostart:={autostart}"]
    return start("slow_node", *arguments)


def unconfigured(start, world):
    child = slow_node(start, state="unconfigured")
    wait_for_words(child, "unconfigured: waiting")
    return child


def configuring(start, world):
    child = slow_node(start, load_s=FOREVER_S)
    wait_for_words(child, "MODEL LOADS")
    return child


def inactive(start, world):
    child = slow_node(start, state="inactive")
    wait_for_words(child, "IS INACTIVE")
    return child


def active(start, world):
    child = slow_node(start)
    wait_for_words(child, "active: /image")
    return child


def working(start, world):
    child = slow_node(start, run_s=FOREVER_S)
    received = world.subscribe(Image, "/ppd/depth/image")
    camera = world.camera()

    def is_working():
        camera.send()
        return "MODEL RUNS" in child.output

    world.spin_until(is_working, "the model runs", timeout_s=START_S)
    assert received == []
    return child


def deactivating(start, world):
    child = working(start, world)
    client = world.client.create_client(ChangeState, "/ppd/change_state")
    world.spin_until(client.service_is_ready, "the node's service")
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_DEACTIVATE
    client.call_async(request)
    camera_count = world.client.count_subscribers
    world.spin_until(lambda: camera_count("/image") == 0, "the node stops listening")
    return child


@pytest.mark.parametrize(
    "state", [unconfigured, configuring, inactive, active, working, deactivating]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_in_time_with_status_0_in_any_state(start, world, state, number):
    child = state(start, world)
    # As `ros2 launch` does it: what the terminal sent comes once more.
    child.send(number)
    child.send(number)
    time.sleep(0.05)
    child.send(number)
    assert child.wait(START_S) == 0, child.output
    assert "frames: " in child.output
    assert "Traceback" not in child.output


def test_signal_during_the_end_of_the_process_is_harmless(start, world):
    child = active(start, world)
    child.send(signal.SIGINT)
    deadline_s = time.monotonic() + START_S
    while child.status is None and time.monotonic() < deadline_s:
        child.send(signal.SIGINT)
        child.send(signal.SIGTERM)
        time.sleep(0.002)
    assert child.status == 0, child.output
    assert "Traceback" not in child.output


def test_load_that_fails_leaves_a_node_that_ends_cleanly(start):
    child = start("ppd_ros.depth_node", "--ros-args", "-p", "model:=no-such-model")
    wait_for_words(child, "cannot configure: unknown model 'no-such-model'")
    child.send(signal.SIGINT)
    assert child.wait(START_S) == 0, child.output


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("num_steps:=-1", "num_steps"),
        ("max_age_s:=1", "max_age_s"),
        ("alignment.source:=gps", "depth, lidar, moge2, got 'gps'"),
        ("alignment.far_m:=0.1", "need 0 <= near < far metres"),
    ],
)
def test_bad_parameter_ends_the_process_with_one_sentence(start, parameter, words):
    child = start("ppd_ros.depth_node", "--ros-args", "-p", parameter)
    assert child.wait(START_S) == 1
    assert words in child.output
    assert "Traceback" not in child.output


@pytest.mark.skipif(
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in os.environ, reason="ROS is not from wheels here"
)
def test_child_without_the_wheels_variables_sets_them_itself(tmp_path, start):
    # An empty variable counts as not set: the interpreter starts itself once more.
    child = start(
        "ppd_ros.depth_node",
        *("--ros-args", "-p", "num_steps:=-1"),
        _ROS_WHEELS_BOOTSTRAP_COMPLETE="",
        LD_LIBRARY_PATH="",
    )
    assert child.wait(START_S) == 1
    assert "num_steps" in child.output, child.output


def test_callback_that_raises_ends_the_process_with_status_1(tmp_path, start):
    (tmp_path / "broken_node.py").write_text(
        "import sys\n"
        "from rclpy.node import Node\n"
        "from ppd_ros.process import run_node\n"
        "class Broken(Node):\n"
        "    def __init__(self):\n"
        "        super().__init__('broken')\n"
        "        self.create_timer(0.01, self.tick)\n"
        "    def tick(self):\n"
        "        raise KeyError('what was not there')\n"
        "    def close(self):\n"
        "        print('CLOSED', flush=True)\n"
        "sys.exit(run_node(lambda is_ending: Broken()))\n"
    )
    child = start("broken_node")
    assert child.wait(START_S) == 1
    assert "KeyError: 'what was not there'" in child.output
    assert "CLOSED" in child.output


def test_interpreter_is_the_one_of_the_tests(start, tmp_path):
    (tmp_path / "which.py").write_text("import sys; print(sys.executable)")
    child = start("which")
    assert child.wait(START_S) == 0
    assert child.output.strip() == sys.executable
