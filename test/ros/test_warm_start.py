"""Frames that begin from the depth of the one before, in the node."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.parameter import Parameter

from ppd_core.preprocess import model_size

DEPTH = "/ppd/depth/image"
SMALL = 32 * 32


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture
def warmth(world, make_pipeline):
    """Makes an active node; sends it pictures; tells which were warm."""
    pipeline = make_pipeline()

    class Warmth:
        def start(self, **values):
            values = {"processing_area": SMALL, "quality__processing_area": SMALL, **values}
            self.node, self.camera, self.received = world.active(pipeline, **values)
            return self

        def send(self, seed, *, age_s=0.0):
            done = len(pipeline.calls)
            self.camera.send(picture(seed), age_s=age_s)
            world.spin_until(lambda: len(pipeline.calls) > done, "the model is called")
            counts = self.node.cameras[0].statistics
            world.spin_until(lambda: counts.counts["out"] > done, "the frame is out")
            return pipeline.calls[-1]["previous"] is not None

    return Warmth()


def test_frames_are_cold_unless_told_otherwise(warmth, count_fates):
    warmth.start()
    assert [warmth.send(0), warmth.send(0)] == [False, False]
    assert "warm" not in count_fates(warmth.node.cameras[0])


def test_the_second_frame_is_warm_and_is_counted(warmth, count_fates):
    warmth.start(warm_start=True)
    assert [warmth.send(0), warmth.send(0)] == [False, True]
    assert count_fates(warmth.node.cameras[0]) == {"in": 2, "out": 2, "warm": 1}


def test_a_cut_is_cold(warmth):
    warmth.start(warm_start=True)
    assert [warmth.send(seed) for seed in (0, 0, 1, 1)] == [False, True, False, True]


def test_a_gap_and_time_that_goes_back_are_cold(warmth):
    warmth.start(warm_start=True, drop_stale=False)
    ages_s = (9.0, 8.9, 8.0, 7.9, 9.0, 8.9)
    assert [warmth.send(0, age_s=age_s) for age_s in ages_s] == 3 * [False, True]


def test_it_can_be_switched_while_it_runs_and_begins_anew_with_activation(warmth, world):
    node = warmth.start(warm_start=True).node
    assert [warmth.send(0), warmth.send(0)] == [False, True]
    assert node.set_parameters([Parameter("warm_start", value=False)])[0].successful
    assert not warmth.send(0)
    assert node.set_parameters([Parameter("warm_start", value=True)])[0].successful
    assert [warmth.send(0), warmth.send(0)][1]
    node.trigger_deactivate()
    node.trigger_activate()
    warmth.camera.wait_seen()
    assert [warmth.send(0), warmth.send(0)] == [False, True]


def test_another_area_is_cold(warmth):
    node = warmth.start(warm_start=True).node
    assert [warmth.send(0), warmth.send(0)] == [False, True]
    assert model_size(24, 32, SMALL) != model_size(24, 32, 4 * SMALL)
    assert node.set_parameters([Parameter("processing_area", value=4 * SMALL)])[0].successful
    assert [warmth.send(0), warmth.send(0)] == [False, True]


def test_a_frame_that_was_asked_for_is_cold_and_not_remembered(warmth, world):
    warmth.start(warm_start=True)
    assert [warmth.send(0), warmth.send(0)] == [False, True]
    called = world.call("/ppd/estimate_once")
    once = warmth.node.cameras[0]._once
    world.spin_until(lambda: once._waiting is not None, "the request waits")
    assert not warmth.send(1)
    assert world.answer(called)[0]
    assert warmth.send(0)
