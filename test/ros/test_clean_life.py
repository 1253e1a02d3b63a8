"""A long life in one process: what is begun anew a hundred times leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, PointCloud2

from ppd_core.alignment.aligner import FrameAligner

ROUNDS = 100
SETTLED_ROUNDS = 20
"""Until then caches fill, and the allocator finds its size."""
FRAMES_EVERY = 4
"""Rounds from one in which frames flow to the next; the others listen to a depth sensor."""
WINDOW_ROUNDS = 20
MAX_GROWTH_MB = 1.0
"""Of most windows: what is left behind grows in all of them, the allocator's own step in few."""
WIDTH, HEIGHT = 160, 120
"""A frame that is kept is seen, and the allocator's own changes of larger ones are not."""


class Life:
    """A depth node that is taken from unconfigured to active and back, again and again."""

    def __init__(self, world, make_pipeline):
        self.pipelines = weakref.WeakSet()
        self._pipeline_class = type(make_pipeline())
        self._world = world
        self._camera = world.camera()
        self._images = world.subscribe(Image, "/ppd/depth/image")
        self._clouds = world.subscribe(PointCloud2, "/ppd/points")
        self._node = world.depth_node(
            load_pipeline=self._load, make_aligner=FrameAligner, autostart=False
        )

    def round(self, *, has_frames):
        """Configure, activate, perhaps work, deactivate, clean up."""
        source = Parameter("alignment.source", value="constant" if has_frames else "depth")
        assert self._node.set_parameters([source])[0].successful
        for transition in ("configure", "activate"):
            self._do(transition)
        if has_frames:
            self._work()
        for transition in ("deactivate", "cleanup"):
            self._do(transition)

    def left(self):
        """What there is while the node is unconfigured, once nothing is on its way out."""
        node = self._node
        kinds = ("subscriptions", "publishers", "timers", "services", "clients", "guards")
        entities = {kind: len(list(getattr(node, kind))) for kind in (*kinds, "waitables")}
        return {
            **entities,
            "parameters": len(node._parameters),
            "pipelines": len(self.pipelines),
            "python threads": sorted(thread.name for thread in threading.enumerate()),
            "threads": len(os.listdir("/proc/self/task")),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    def _do(self, transition):
        answer = getattr(self._node, f"trigger_{transition}")()
        assert answer == TransitionCallbackReturn.SUCCESS, transition

    def _load(self, settings):
        pipeline = self._pipeline_class()
        self.pipelines.add(pipeline)
        return pipeline

    def _work(self):
        self._camera.wait_seen()
        self._images.clear()
        self._clouds.clear()

        def has_come():
            self._camera.send_info(width=WIDTH, height=HEIGHT)
            self._camera.send(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
            return len(self._images) >= 2 and len(self._clouds) >= 2

        self._world.spin_until(has_come, "depth and points of two frames")
        self._images.clear()
        self._clouds.clear()


def resident_mb():
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_hundred_lives_leave_nothing_behind():
    """In a process of its own: the memory of one that has run other tests moves by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "python_functions=lives_*", __file__],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def lives_leave_nothing_behind(world, make_pipeline):
    life, rss_mb = Life(world, make_pipeline), []
    for number in range(ROUNDS):
        life.round(has_frames=number % FRAMES_EVERY == 0)
        rss_mb.append(resident_mb())
        if number == SETTLED_ROUNDS - 1:
            before = life.left()
    world.spin_until(lambda: life.left() == before, f"the end of all but {before}")
    settled_mb = np.array(rss_mb[SETTLED_ROUNDS:])
    growth_mb = np.median(settled_mb[WINDOW_ROUNDS:] - settled_mb[:-WINDOW_ROUNDS])
    assert growth_mb < MAX_GROWTH_MB, np.round(rss_mb[::5], 1)
