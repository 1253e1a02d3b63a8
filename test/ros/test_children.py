from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from ppd_ros.children import (
    DOMAIN_IDS,
    Child,
    domain_environment,
    ended_children,
    free_domain_id,
    wait_for_first,
)

DEADLINE_S = 20.0
FOREVER_S = 3600.0
"""Of a wait that must end by something else: longer than the test may take."""
# Said outright: what a shell runs in the background inherits an ignored SIGINT.
WAITS = """
import signal
import time

signal.signal(signal.SIGINT, signal.default_int_handler)
print("UP", flush=True)
time.sleep(60)
"""
STUBBORN = WAITS.replace("default_int_handler", "SIG_IGN")


@pytest.fixture
def start(tmp_path, search_path):
    """Starts a program, given as text, as a child; ends it with the test."""
    with ended_children() as children:

        def start(text, *arguments):
            name = f"program{len(children)}"
            (tmp_path / f"{name}.py").write_text(text)
            environment = {**os.environ, "PYTHONPATH": search_path(tmp_path)}
            child = Child(name, name, arguments, log_folder=tmp_path, environment=environment)
            children.append(child)
            return child

        yield start


def wait_up(child):
    deadline_s = time.monotonic() + DEADLINE_S
    while "UP" not in child.output:
        assert child.status is None and time.monotonic() < deadline_s, child.output
        time.sleep(0.01)


def test_free_domain_is_one_whose_port_nobody_holds():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        first = free_domain_id()
        held.bind(("", 7400 + 250 * first))
        others = [domain_id for domain_id in DOMAIN_IDS if domain_id != first]
        assert free_domain_id([first, first, *others]) in others
        with pytest.raises(RuntimeError, match="no free ROS_DOMAIN_ID"):
            free_domain_id([first])


def test_free_domain_is_below_the_ports_that_linux_gives_out():
    assert free_domain_id() in DOMAIN_IDS
    assert 7400 + 250 * max(DOMAIN_IDS) < 32768


def test_environment_keeps_what_is_there_and_stays_on_this_machine(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/wheels")
    environment = domain_environment(42)
    assert environment["ROS_DOMAIN_ID"] == "42"
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert environment["LD_LIBRARY_PATH"] == "/of/the/wheels"


def test_environment_speaks_humble(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert domain_environment(1)["ROS_LOCALHOST_ONLY"] == "1"
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.delenv("ROS_LOCALHOST_ONLY", raising=False)
    assert "ROS_LOCALHOST_ONLY" not in domain_environment(1)


def test_child_keeps_output_and_status(start):
    child = start("import sys\nprint('\\n'.join(sys.argv[1:]))\nsys.exit(3)\n", "a", "b", "c")
    assert child.wait(DEADLINE_S) == 3
    assert child.status == 3
    assert child.output == "a\nb\nc\n"
    assert child.last_lines(2) == "b\nc"


def test_errors_of_a_child_are_in_its_output(start):
    child = start("raise ValueError('trouble')\n")
    assert child.wait(DEADLINE_S) == 1
    assert "ValueError: trouble" in child.last_lines()


def test_wait_gives_up_in_time(start):
    child = start(WAITS)
    assert child.wait(0.01) is None
    assert child.status is None


def test_end_interrupts_a_child(start):
    child = start(WAITS)
    wait_up(child)
    assert child.end() in (-signal.SIGINT, 1, 130)
    assert child.end() == child.status


def test_end_kills_a_child_that_does_not_listen(start, monkeypatch):
    monkeypatch.setattr("ppd_ros.children.END_S", 0.2)
    child = start(STUBBORN)
    wait_up(child)
    assert child.end() == -signal.SIGKILL


def test_children_are_ended_when_the_block_fails(tmp_path, search_path):
    (tmp_path / "waits.py").write_text(WAITS)
    environment = {**os.environ, "PYTHONPATH": search_path(tmp_path)}
    with pytest.raises(RuntimeError, match="trouble"), ended_children() as children:
        child = Child("waits", "waits", [], log_folder=tmp_path, environment=environment)
        children.append(child)
        wait_up(child)
        raise RuntimeError("trouble")
    assert child.status is not None


def test_wait_for_first_returns_the_child_that_ended(start):
    waiting, ending = start(WAITS), start("")
    assert wait_for_first([waiting, ending], DEADLINE_S) is ending


def test_wait_for_first_can_be_given_up(start):
    assert wait_for_first([start(WAITS)], FOREVER_S, is_given_up=lambda: True) is None


def test_wait_for_first_gives_up_in_time(start):
    assert wait_for_first([start(WAITS)], 0.05) is None
