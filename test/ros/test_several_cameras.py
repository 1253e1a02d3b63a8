"""Several cameras in one node: one model, topics of their own, batches of what waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray

from ppd_core.depth_reading import image_to_depth

CAMERAS = ("left", "right")
DEPTHS = tuple(f"/ppd/{name}/depth/image" for name in CAMERAS)


def stereo(world, pipeline=None, *, outputs=DEPTHS, **values):
    return world.active(
        pipeline,
        cameras=CAMERAS,
        outputs=outputs,
        **{
            f"qos_overrides./{name}/{topic}.subscription.reliability": "reliable"
            for name in CAMERAS
            for topic in ("image", "camera_info")
        },
        **values,
    )


@pytest.fixture
def pair(world, make_pipeline):
    made = make_pipeline()
    made.relative = lambda image: torch.full(image.shape[:2], image.max() / 255)
    return made


def test_each_camera_has_topics_of_its_own(world):
    node, _, _ = stereo(world)
    topics = {p.topic_name for camera in node.cameras for p in camera.outputs.values()}
    for name in CAMERAS:
        own = ("depth/image", "depth/image_raw", "depth/camera_info", "points", "rgb/image")
        assert {f"/ppd/{name}/{topic}" for topic in own} <= topics
    assert {s.topic_name for s in node.subscriptions} >= {
        *("/left/image", "/left/camera_info", "/right/image", "/right/camera_info"),
    }


def test_depth_goes_to_the_camera_that_it_is_of(world, pair):
    _, (left, right), received = stereo(world, pair)
    left.frame_id, right.frame_id = "left_optical", "right_optical"
    images = [left.send(value=51), right.send(value=204)]
    world.spin_until(lambda: all(received.values()), "both")
    for topic, image, relative in zip(DEPTHS, images, (0.2, 0.8), strict=True):
        assert received[topic][0].header == image.header
        assert np.unique(image_to_depth(received[topic][0])) == pytest.approx([relative])


def test_each_camera_begins_from_its_own_frame_before(world, make_pipeline):
    pipeline = make_pipeline()
    _, cameras, received = stereo(world, pipeline, warm_start=True, processing_area=32 * 32)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
    for number in (1, 2):
        for camera, image, topic in zip(cameras, pictures, DEPTHS, strict=True):
            camera.send(image)
            world.spin_until(lambda t=topic, n=number: len(received[t]) == n, "its depth")
    assert [call["previous"] is not None for call in pipeline.calls] == [False, False, True, True]


def test_frames_that_wait_go_through_the_model_as_one_batch(world, make_pipeline):
    pipeline = make_pipeline(is_held=True)
    node, (left, right), received = stereo(world, pipeline)
    left.send(value=1)
    world.spin_until(pipeline.started.is_set, "the worker is busy")
    for camera, number, value in ((right, 1, 2), (left, 2, 3), (right, 2, 4)):
        camera.send(value=value)
        counted = node.cameras[camera is right]
        world.spin_until(lambda c=counted, n=number: c.statistics.counts["in"] == n, "it arrives")
    pipeline.release.set()
    world.spin_until(lambda: [len(r) for r in received.values()] == [2, 1], "depth of both")
    assert pipeline.batch_sizes == [1, 2]
    assert sorted(call["image"].max() for call in pipeline.calls) == [1, 3, 4]
    assert [camera.statistics.counts["replaced"] for camera in node.cameras] == [0, 1]


def test_a_frame_that_cannot_be_used_does_not_spoil_the_other(world, make_pipeline, count_fates):
    pipeline = make_pipeline(is_held=True)
    node, (left, right), received = stereo(world, pipeline)
    left.send(value=1)
    world.spin_until(pipeline.started.is_set, "the worker is busy")
    left.send(value=3)
    right.send(value=66)

    def are_in():
        return [camera.statistics.counts["in"] for camera in node.cameras] == [2, 1]

    world.spin_until(are_in, "both arrive")
    batch = pipeline.batch

    def picky(images, **options):
        if any(image.max() == 66 for image in images):
            raise ValueError("image must not be of number 66")
        return batch(images, **options)

    pipeline.batch = picky
    pipeline.release.set()
    world.spin_until(lambda: "bad" in count_fates(node.cameras[1]), "one is refused")
    world.spin_until(lambda: len(received[DEPTHS[0]]) == 2, "the other comes out")
    assert count_fates(node.cameras[0]) == {"in": 2, "out": 2}


def test_each_camera_is_asked_for_a_frame_by_itself(world, make_pipeline):
    pipeline = make_pipeline()
    node, (left, right), _ = stereo(world, pipeline, streaming=False)
    called = world.call("/ppd/right/estimate_once")
    world.spin_until(lambda: node.cameras[1]._once._waiting is not None, "the request waits")
    left.send(value=1)
    right.send(value=2)
    assert world.answer(called)[0]
    assert [call["image"].max() for call in pipeline.calls] == [2]


def test_each_camera_is_told_of_in_the_diagnostics(world):
    _, (left, _), _ = stereo(world)
    left.send()
    health = world.subscribe(DiagnosticArray, "/diagnostics")
    world.spin_until(lambda: health, "diagnostics")
    assert [status.name for status in health[-1].status] == [
        *("ppd/left: frames", "ppd/left: alignment", "ppd/right: frames", "ppd/right: alignment"),
    ]


def test_depth_sensors_are_paired_by_camera(world):
    node, _, _ = stereo(world, alignment__source="depth")
    topics = {s.topic_name for s in node.subscriptions}
    assert {"/left/depth_in", "/right/depth_in"} <= topics
    assert "/depth_in" not in topics
