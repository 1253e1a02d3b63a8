"""Sources and the aligner while parameters change: real topics, an aligner of the test's own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ppd_core.types import AlignmentError, Intrinsics
from ppd_ros.alignment_parameters import SPECS, alignment_settings
from ppd_ros.anchors import Frame, check_model, open_source
from ppd_ros.camera_topics import CameraTopics
from ppd_ros.conversions import depth_to_image_mm
from ppd_ros.views import View

DEPTH, ALIGNED = "/ppd/depth/image", "/ppd/alignment"
DEFAULTS = {spec.name: spec.default for spec in SPECS}
DEADLINE_S = 20.0
FOREVER_S = 3600.0
"""Of a wait that must end by something else: longer than the test may take."""


def settings_of(**values):
    return alignment_settings({**DEFAULTS, **{f"alignment.{k}": v for k, v in values.items()}})


def set_parameters(node, **values):
    changes = [Parameter(f"alignment.{name}", value=value) for name, value in values.items()]
    return node.set_parameters_atomically(changes)


def applied(world, node, **values):
    """Set parameters, and spin until they are in effect."""
    assert set_parameters(node, **values).successful
    world.spin_until(
        lambda: node.cameras[0].metres.ties.settings == node._settings.alignment,
        f"{values} are in effect",
    )


def subscriptions(node):
    return {subscription.topic_name for subscription in node.subscriptions} - {
        "/parameter_events",
        "/clock",
    }


@pytest.fixture
def active(world):
    def make(**values):
        node = world.depth_node(**{f"alignment__{name}": value for name, value in values.items()})
        world.wait_active(node)
        return node

    return make


def test_each_source_subscribes_to_its_own_topic(world, active):
    node = active()
    always = {"/image", "/camera_info"}
    assert subscriptions(node) == always
    for source, topics in [
        ("depth", {"/depth_in", "/depth_camera_info"}),
        ("constant", set()),
        ("depth", {"/depth_in", "/depth_camera_info"}),
        ("none", set()),
    ]:
        applied(world, node, source=source)
        assert subscriptions(node) == always | topics
    node.trigger_deactivate()
    assert subscriptions(node) == set()


def test_lidar_is_listened_to_with_and_without_tf2(world, active):
    node = active(source="lidar")
    assert {"/image", "/camera_info", "/lidar_in"} <= subscriptions(node)
    node.trigger_deactivate()
    assert subscriptions(node) == set()


def test_inputs_of_the_sensor_are_remapped_and_their_qos_overridable(world):
    node = world.depth_node(
        cli_args=["--ros-args", "-r", "depth_in:=/camera/aligned_depth"],
        alignment__source="depth",
        **{"qos_overrides./camera/aligned_depth.subscription.depth": 9},
    )
    world.wait_active(node)
    subscription = next(s for s in node.subscriptions if s.topic_name == "/camera/aligned_depth")
    assert subscription.qos_profile.depth == 9


def test_qos_that_is_none_is_said_of_each_frame(world):
    node = world.depth_node(
        alignment__source="depth", **{"qos_overrides./depth_in.subscription.reliability": "foo"}
    )
    world.wait_active(node)
    with pytest.raises(AlignmentError, match="cannot subscribe"):
        raise node.cameras[0].metres.ties.source.evidence(None, node._settings.alignment)


@pytest.mark.parametrize(
    ("values", "is_new"),
    [
        ({"hold_s": 2.0}, True),
        ({"field": True}, True),
        ({"track": False}, True),
        ({"min_inlier_ratio": 0.5}, True),
        ({"near_m": 0.75}, True),
        ({"on_failure": "nan"}, False),
        ({"max_slop_s": 0.5}, False),
        ({"fixed_frame": "odom"}, False),
    ],
)
def test_the_aligner_begins_anew_only_where_a_change_concerns_it(world, active, values, is_new):
    node = active(source="depth")
    before = node.cameras[0].metres.ties
    applied(world, node, **values)
    after = node.cameras[0].metres.ties
    assert after.source is before.source
    assert (after.frame_aligner is not before.frame_aligner) == is_new
    assert after.frame_aligner.config == node._settings.alignment.config


def test_parameters_that_do_not_concern_the_alignment_leave_it_alone(world, active):
    node = active(source="depth")
    before = node.cameras[0].metres.ties
    assert node.set_parameters([Parameter("num_steps", value=2)])[0].successful
    for _ in range(20):
        for executor in world._executors:
            executor.spin_once(timeout_sec=0.005)
    assert (node.cameras[0].metres.ties.source, node.cameras[0].metres.ties.frame_aligner) == (
        *(before.source, before.frame_aligner),
    )


def test_reset_service_forgets_and_says_what(world, active):
    node = active(source="constant")
    client = world.client.create_client(Trigger, "/ppd/reset_alignment")
    world.spin_until(client.service_is_ready, "the service")

    def reset():
        answer = client.call_async(Trigger.Request())
        world.spin_until(answer.done, "an answer")
        return answer.result()

    answer = reset()
    assert answer.success
    assert "alignment.source constant tied to metres (state waiting" in answer.message
    assert world.aligners[-1].num_resets == 1
    applied(world, node, source="none")
    answer = reset()
    assert (answer.success, answer.message) == (
        *(False, "nothing to reset: alignment.source is none"),
    )
    node.trigger_deactivate()
    answer = reset()
    assert (answer.success, answer.message) == (
        *(False, "nothing to reset: the node is not active"),
    )


def test_source_moge2_is_refused_by_configure_with_the_reason(world, capfd):
    node = world.depth_node(autostart=False, alignment__source="moge2")
    node.trigger_configure()
    assert "cannot configure: alignment.source moge2 needs a model with MoGe-2's prompt" in (
        capfd.readouterr().err
    )
    assert set_parameters(node, source="depth").successful


def test_only_a_model_with_moge2s_prompt_is_its_own_source():
    from types import SimpleNamespace

    from ppd_core.config import preset

    check_model("moge2", SimpleNamespace(config=preset("ppd-moge2")))
    check_model("depth", SimpleNamespace(config=preset("ppd-da2")))
    with pytest.raises(ValueError, match="got one with prompt da2"):
        check_model("moge2", SimpleNamespace(config=preset("ppd-da2")))
    with pytest.raises(ValueError, match="an exported package has no metres"):
        check_model("moge2", SimpleNamespace(config=preset("ppd-moge2"), is_package=True))


def frame_of(header, *, view=None):
    return Frame(header, view, torch.zeros(6, 8), lambda: "own samples")


def test_source_moge2_gives_the_models_own_samples(world):
    source = open_source(world.client, "moge2", CameraTopics(""), None, None)
    assert source.needs_camera
    assert source.evidence(frame_of(None), settings_of()) == "own samples"


@pytest.fixture
def sensor(world):
    """A source in the client, its warnings, and a function that asks it in another thread."""

    class Sensor:
        def __init__(self):
            self.warned = []
            self.source = None

        def open(self, name):
            self.source = open_source(
                world.client,
                name,
                CameraTopics(""),
                lambda key, text: self.warned.append(text),
                self.warned.append,
            )
            return self.source

        def failure(self, frame, **values):
            """The error that the source answers with, while the client spins."""
            outcome = []

            def ask():
                try:
                    outcome.append(self.source.evidence(frame, settings_of(**values)))
                except AlignmentError as error:
                    outcome.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            world.spin_until(lambda: not thread.is_alive(), "an answer")
            thread.join()
            assert isinstance(outcome[0], AlignmentError)
            return outcome[0]

    made = Sensor()
    yield made
    if made.source is not None:
        made.source.close()


def camera_header(world):
    return world.camera().send().header


def test_unpaired_names_the_topic_and_who_publishes_on_it(world, sensor):
    sensor.open("depth")
    header = camera_header(world)
    error = sensor.failure(frame_of(header), max_wait_s=0.0)
    assert error.reason == "unpaired"
    assert str(error) == (
        "no sensor message close enough in time to the image: /depth_in has 0 publishers, 0 "
        "messages came, none can be paired (alignment.max_slop_s is 0.1)"
    )


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (0.4, "0.4 s before the image (alignment"),
        (-0.4, "0.4 s after the image (alignment"),
        (1.7e9, "1.7e+09 s before the image: another clock?"),
    ],
)
def test_unpaired_tells_how_far_the_nearest_is(world, sensor, age_s, words):
    sensor.open("depth")
    header = camera_header(world)
    out = world.client.create_publisher(Image, "depth_in", 10)
    world.spin_until(lambda: out.get_subscription_count() > 0, "the source listens")
    ns = header.stamp.sec * 10**9 + header.stamp.nanosec - round(age_s * 1e9)
    stamp = Time(sec=ns // 10**9, nanosec=ns % 10**9)
    message = depth_to_image_mm(np.ones((6, 8), np.float32), Header(stamp=stamp))
    messages = sensor.source._topic.messages
    world.spin_until(lambda: out.publish(message) or messages.num_received, "it arrives")
    error = sensor.failure(frame_of(header))
    assert error.reason == "unpaired"
    assert words in str(error)
    assert "/depth_in has 1 publishers" in str(error)


def test_unreadable_depth_is_named(world, sensor):
    sensor.open("depth")
    header = camera_header(world)
    message = Image(header=header, height=1, width=1, encoding="mono8", step=1, data=[0])
    sensor.source._topic._on_message(message)
    error = sensor.failure(frame_of(header))
    assert error.reason == "unreadable"
    assert "/depth_in: depth encoding must be 32FC1 or 16UC1, got 'mono8'" in str(error)


def test_unreadable_cloud_is_named(world, sensor):
    sensor.open("lidar")
    header = camera_header(world)
    sensor.source._topic._on_message(PointCloud2(header=header, height=1, width=1))
    frame = frame_of(header, view=View(Intrinsics.from_focal(8, 6, 10.0), CameraInfo()))
    error = sensor.failure(frame)
    assert error.reason == "unreadable"
    assert "/lidar_in: cloud must have float fields x, y and z" in str(error)


def test_lidar_needs_the_camera(world, sensor):
    sensor.open("lidar")
    header = camera_header(world)
    failure = sensor.failure(frame_of(header))
    assert failure.reason == "no_camera"
    assert "want a CameraInfo" in str(failure)


def test_deactivate_ends_the_wait_for_a_sensor(world, active):
    node = active(source="depth", max_wait_s=1.0)
    received = world.subscribe(Image, DEPTH)
    camera = world.camera()
    camera.wait_seen()
    world.spin_until(
        lambda: node.cameras[0].outputs["depth"].get_subscription_count(), "a subscriber"
    )
    messages = node.cameras[0].metres.ties.source._topic.messages
    waiting = threading.Event()
    nearest = messages.nearest

    def noted(*args, **options):
        messages._arrived_s = time.monotonic() + FOREVER_S  # as if the sensor were never silent
        waiting.set()
        return nearest(*args, max_wait_s=FOREVER_S)

    messages.nearest = noted
    camera.send()
    world.spin_until(waiting.is_set, "the frame waits for its depth")
    node.trigger_deactivate()
    assert node.cameras[0].alignment_statistics.health().failures == {"unpaired": 1}
    assert received == []
