"""How much is spent on a frame, and on which: `~/estimate_once`, `streaming`, `max_rate_hz`."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ppd_core.config import SamplerConfig, preset
from ppd_ros.conversions import depth_to_image_mm
from ppd_ros.pacing import Pacer

DEPTH = "/ppd/depth/image"
ONCE = "/ppd/estimate_once"


def efforts(pipeline):
    return [(call["num_steps"], call["processing_area"]) for call in pipeline.calls]


def test_one_frame_is_made_with_quality_and_the_stream_goes_on(world, make_pipeline):
    pipeline = make_pipeline()
    stream, quality = (2, 1024), (9, 4096)
    values = {"quality__num_steps": quality[0], "quality__processing_area": quality[1]}
    _, camera, _ = world.active(pipeline, num_steps=stream[0], processing_area=stream[1], **values)
    called = world.call(ONCE)

    def is_answered():
        camera.send()
        return called.done()

    world.spin_until(is_answered, "an answer")
    assert called.result().success, called.result().message
    assert efforts(pipeline).count(quality) == 1
    after = len(pipeline.calls)
    camera.send()
    world.spin_until(lambda: len(pipeline.calls) > after, "the stream goes on")
    assert efforts(pipeline)[-1] == stream


def test_the_profile_can_be_turned_while_it_runs(world, make_pipeline):
    pipeline = make_pipeline()
    pipeline.config = preset("tiny")
    area = pipeline.config.preprocess.processing_area
    node, camera, received = world.active(pipeline, profile="fast")
    for profile in ("balanced", "quality"):
        camera.send()
        world.spin_until(lambda: received[DEPTH], "depth")
        received[DEPTH].clear()
        assert node.set_parameters([Parameter("profile", value=profile)])[0].successful
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert efforts(pipeline) == [(2, area // 2), (4, area), (20, area)]


def test_a_package_spends_what_it_was_built_for_whatever_the_profile(world, make_pipeline):
    pipeline = make_pipeline()
    pipeline.config = replace(preset("tiny"), sampler=SamplerConfig(num_steps=3))
    pipeline.is_package = True
    _, camera, _ = world.active(pipeline, streaming=False, profile="fast")
    called = world.call(ONCE)

    def is_answered():
        camera.send()
        return called.done()

    world.spin_until(is_answered, "an answer")
    assert called.result().success, called.result().message
    assert efforts(pipeline) == [(3, pipeline.config.preprocess.processing_area)]


def test_without_streaming_only_what_is_asked_for_is_worked_on(world, make_pipeline, count_fates):
    pipeline = make_pipeline()
    node, camera, received = world.active(pipeline, streaming=False)
    camera.send(value=1)
    world.spin_until(lambda: count_fates(node.cameras[0]).get("skipped") == 1, "it is let go")
    called = world.call(ONCE)
    once = node.cameras[0]._once
    world.spin_until(lambda: once._waiting is not None, "the request waits")
    image = camera.send(value=2)
    success, message = world.answer(called)
    assert success
    assert "s after its stamp" in message
    world.spin_until(lambda: received[DEPTH], "its depth")
    assert received[DEPTH][0].header == image.header
    camera.send(value=3)
    world.spin_until(lambda: count_fates(node.cameras[0]).get("skipped") == 2, "it is let go")
    assert [call["image"].max() for call in pipeline.calls] == [2]


def test_streaming_can_be_switched_while_it_runs(world, make_pipeline, count_fates):
    pipeline = make_pipeline()
    node, camera, received = world.active(pipeline)
    assert node.set_parameters([Parameter("streaming", value=False)])[0].successful
    camera.send()
    world.spin_until(lambda: "skipped" in count_fates(node.cameras[0]), "it is let go")
    assert node.set_parameters([Parameter("streaming", value=True)])[0].successful
    camera.send()
    world.spin_until(lambda: received[DEPTH], "depth")
    assert len(pipeline.calls) == 1


def test_a_frame_that_was_asked_for_is_not_replaced_and_not_too_old(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    node, camera, _ = world.active(pipeline, quality__num_steps=9, num_steps=2, max_age_s=0.05)
    camera.send(value=1)
    world.spin_until(pipeline.started.is_set, "the worker is busy")
    called = world.call(ONCE)
    once = node.cameras[0]._once
    world.spin_until(lambda: once._waiting is not None, "the request waits")
    for value in (2, 3, 4):
        received = node.cameras[0].statistics.counts["in"]
        camera.send(value=value)
        world.spin_until(
            lambda r=received: node.cameras[0].statistics.counts["in"] > r, "it arrives"
        )
    time.sleep(0.1)  # now it is older than max_age_s
    pipeline.release.set()
    assert world.answer(called)[0]
    asked = [call for call in pipeline.calls if call["num_steps"] == 9]
    assert [call["image"].max() for call in asked] == [2]


def test_callers_that_wait_together_share_a_frame(world, make_pipeline):
    pipeline = make_pipeline()
    node, camera, _ = world.active(pipeline, streaming=False)
    calls = [world.call(ONCE), world.call(ONCE)]
    world.spin_until(
        lambda: sum(not task.done() for task, *_ in node.executor._tasks) == 2, "both wait"
    )
    camera.send()
    assert [world.answer(called)[0] for called in calls] == [True, True]
    assert len(pipeline.calls) == 1


def busy_and_asked(world, pipeline, **values):
    """A node whose model is at work while a frame that was asked for waits; and the call."""
    node, camera, received = world.active(pipeline, quality__num_steps=9, num_steps=2, **values)
    camera.send(value=1)
    world.spin_until(pipeline.started.is_set, "the worker is busy")
    called = world.call(ONCE)
    once = node.cameras[0]._once
    world.spin_until(lambda: once._waiting is not None, "the request waits")
    camera.send(value=2)
    world.spin_until(lambda: node.cameras[0].statistics.counts["in"] == 2, "its frame is here")
    return node, camera, received, called


def test_a_frame_that_waits_when_the_node_stops_is_answered(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    node, _, _, called = busy_and_asked(world, pipeline)
    threading.Timer(0.2, pipeline.release.set).start()
    node.trigger_deactivate()
    assert world.answer(called) == (False, "the node was deactivated before it was its turn")


def test_the_stream_waits_in_the_mailbox_behind_what_was_asked_for(world, make_pipeline):
    """Where it is replaced by what comes later, and is too old when its turn comes too late."""
    pipeline = make_pipeline(is_held=True)
    node, camera, received, called = busy_and_asked(world, pipeline)
    for number, value in ((3, 3), (4, 4)):
        camera.send(value=value)
        counts = node.cameras[0].statistics
        world.spin_until(lambda n=number, c=counts: c.counts["in"] == n, "it arrives")
    pipeline.release.set()
    assert world.answer(called)[0]
    world.spin_until(lambda: len(pipeline.calls) == 3, "all are done")
    assert pipeline.batch_sizes == [1, 1, 1]
    assert [call["image"].max() for call in pipeline.calls] == [1, 2, 4]
    world.spin_until(lambda: received[DEPTH], "depth")
    stamps = [(d.header.stamp.sec, d.header.stamp.nanosec) for d in received[DEPTH]]
    assert stamps == sorted(stamps)


def test_a_frame_that_was_asked_for_keeps_its_sensor_while_it_waits(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    sensor_out = world.client.create_publisher(Image, "depth_in", 10)
    node, camera, _, called = busy_and_asked(world, pipeline, alignment__source="depth")
    messages = node.cameras[0].metres.ties.source._topic.messages
    world.spin_until(sensor_out.get_subscription_count, "the sensor is heard")
    now = world.client.get_clock().now().nanoseconds
    for number in range(60):  # two seconds of it, though the model was not done
        messages.put(now + number * 33_000_000, depth_to_image_mm(np.ones((6, 8)), Header()))
    pipeline.release.set()
    world.answer(called)
    assert "unpaired" not in str(world.aligners[-1].evidence[-1])
    assert camera is not None


def test_why_there_is_no_frame_is_answered(world, make_pipeline, monkeypatch):
    monkeypatch.setattr("ppd_ros.estimate_once.WAIT_S", 0.2)
    pipeline = make_pipeline()
    node, camera, _ = world.active(pipeline, streaming=False, outputs=())
    assert world.answer(world.call(ONCE)) == (False, "no image came within 0.2 s")
    once = node.cameras[0]._once

    def asked():
        called = world.call(ONCE)
        world.spin_until(lambda: once._waiting is not None, "the request waits")
        return called

    called = asked()
    camera.send()
    assert world.answer(called) == (False, "unwanted: nobody subscribed to an output")
    world.subscribe(type(camera.send()), DEPTH)
    depth = node.cameras[0].outputs["depth"]
    world.spin_until(depth.get_subscription_count, "a subscriber")
    pipeline.error = RuntimeError("a cosmic ray")
    called = asked()
    camera.send()
    assert world.answer(called) == (False, "failed: RuntimeError: a cosmic ray")
    called = asked()
    node.trigger_deactivate()
    assert world.answer(called) == (False, "the node was deactivated before a frame came")
    assert world.answer(world.call(ONCE)) == (False, "the node is not active")


def taken(pacer, period_s, arrivals_s):
    return [t for t in arrivals_s if pacer.is_due(t, period_s)]


def test_no_limit_takes_all():
    assert len(taken(Pacer(), 0.0, range(100))) == 100


@pytest.mark.parametrize(("rate_hz", "wanted"), [(15, 15), (20, 20), (10, 10), (60, 30)])
def test_a_rate_is_met_on_the_whole(rate_hz, wanted):
    jitter = [0.002 * ((17 * i) % 7 - 3) for i in range(300)]
    arrivals_s = [i / 30 + jitter[i] for i in range(300)]
    number = len(taken(Pacer(), 1 / rate_hz, arrivals_s))
    assert 9.5 * wanted <= number <= 10 * wanted + 1


def test_after_a_pause_no_burst_follows():
    pacer = Pacer()
    taken(pacer, 0.1, [0.0, 0.1])
    assert len(taken(pacer, 0.1, [10 + 0.001 * i for i in range(80)])) == 1


def test_a_shorter_period_counts_at_once():
    pacer = Pacer()
    assert pacer.is_due(0.0, 100.0)
    assert not pacer.is_due(0.5, 100.0)
    assert pacer.is_due(1.0, 0.5)


def test_the_node_keeps_to_the_rate(world, make_pipeline, count_fates):
    pipeline = make_pipeline()
    node, camera, _ = world.active(pipeline, max_rate_hz=0.01)
    for number in (1, 2, 3):
        camera.send()
        world.spin_until(lambda n=number: node.cameras[0].statistics.counts["in"] == n, "it comes")
    world.spin_until(lambda: "out" in count_fates(node.cameras[0]), "the first is done")
    assert count_fates(node.cameras[0]) == {"in": 3, "out": 1, "skipped": 2}
