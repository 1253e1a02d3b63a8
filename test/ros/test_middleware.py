"""Shared memory: enough of it while the node lives, and none left behind."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from ppd_ros import middleware
from ppd_ros.children import domain_environment

ROOT = Path(__file__).parents[2]
MAPPED = """
import sys
from pathlib import Path
import rclpy
from ppd_ros.depth_node import DepthNode
from ppd_ros.middleware import make_room
from ppd_ros.process import leave

def segments():
    names = set()
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, name = line.split()
        if "/dev/shm/fastrtps_" in name or "/dev/shm/fastdds_" in name:
            first, last = (int(part, 16) for part in span.split("-"))
            total += last - first
            names.add(name)
    return total, len(names)

if sys.argv[1] == "room":
    make_room()
rclpy.init(args=[])
node = DepthNode(parameter_overrides=[rclpy.Parameter("autostart", value=False)])
print("LIVE", *segments())
node.close()
node.destroy_node()
rclpy.shutdown()
print("GONE", *segments())
leave(0)
"""
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def environment(monkeypatch):
    for name in (*middleware.PROFILE_VARIABLES, middleware.TRANSPORT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(middleware.shutil, "disk_usage", lambda path: Usage(0, 0, 1 << 30))
    return monkeypatch


def test_the_profile_is_named_to_fast_dds(environment):
    assert middleware.make_room()
    for name in middleware.PROFILE_VARIABLES:
        assert Path(middleware.os.environ[name]).is_file()


@pytest.mark.parametrize("name", [*middleware.PROFILE_VARIABLES, middleware.TRANSPORT_VARIABLE])
def test_what_a_user_chose_stays(environment, name):
    environment.setenv(name, "mine")
    assert not middleware.make_room()
    chosen = {n: middleware.os.environ.get(n) for n in middleware.PROFILE_VARIABLES}
    assert set(chosen.values()) <= {"mine", None}


def test_where_shared_memory_is_scarce_nothing_is_changed(environment):
    environment.setattr(middleware.shutil, "disk_usage", lambda path: Usage(0, 0, 64 << 20))
    assert not middleware.make_room()


def test_without_shared_memory_nothing_is_changed(environment):
    environment.undo()
    environment.setattr(middleware, "SHARED_MEMORY", Path("/no/such/place"))
    assert not middleware.make_room()


@pytest.mark.parametrize("how", ["room", "default"])
def test_the_node_has_room_and_leaves_none_behind(domain_id, search_path, how):
    """Seen in the process's own memory, for others come and go in /dev/shm."""
    environment = {**domain_environment(domain_id), "PYTHONPATH": search_path(ROOT)}
    for name in (*middleware.PROFILE_VARIABLES, middleware.TRANSPORT_VARIABLE):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", MAPPED, how],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    live_bytes, live = map(int, said["LIVE"].split())
    if not live:
        pytest.skip("another middleware than Fast DDS, or no shared memory")
    assert (live_bytes > 32 << 20) == (how == "room")
    assert said["GONE"] == "0 0"
