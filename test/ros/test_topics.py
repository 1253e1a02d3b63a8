"""QoS of the node's topics: defaults, overrides, and mismatches that are named."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

BEST_EFFORT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def plain_node(world):
    """An active node with the QoS that a user gets who overrides nothing."""

    def make(**overrides):
        defaults = {
            f"qos_overrides./{topic}.subscription.reliability": "auto"
            for topic in ("image", "camera_info")
        }
        node = world.depth_node(**{**defaults, **overrides})
        world.wait_active(node)
        return node

    return make


def profiles(node):
    """Topic -> QoS of the node's subscriptions."""
    return {
        subscription.topic_name: subscription.qos_profile for subscription in node.subscriptions
    }


def test_inputs_are_best_effort_and_keep_one(plain_node):
    node = plain_node()
    for topic in ("/image", "/camera_info"):
        profile = profiles(node)[topic]
        assert profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
        assert profile.durability == QoSDurabilityPolicy.VOLATILE
        assert (profile.history, profile.depth) == (QoSHistoryPolicy.KEEP_LAST, 1)


def is_reliable(node, topic):
    return profiles(node)[topic].reliability == QoSReliabilityPolicy.RELIABLE


def test_an_input_is_reliable_while_all_publishers_are(world, plain_node, capfd):
    node = plain_node()
    first = world.client.create_publisher(Image, "/image", RELIABLE)
    world.spin_until(lambda: is_reliable(node, "/image"), "it is asked for reliably")
    assert not is_reliable(node, "/camera_info")
    second = world.client.create_publisher(Image, "/image", BEST_EFFORT)
    world.spin_until(lambda: not is_reliable(node, "/image"), "and no more")
    assert "/image has 2 publishers: what they send is mixed" in capfd.readouterr().err
    for publisher in (first, second):
        count = node.cameras[0].statistics.counts["in"]

        def arrives(publisher=publisher, count=count):
            publisher.publish(Image())
            return node.cameras[0].statistics.counts["in"] > count

        world.spin_until(arrives, "both are heard")
    world.client.destroy_publisher(second)
    world.spin_until(lambda: is_reliable(node, "/image"), "and once more")
    inputs = [s.topic_name for s in node.subscriptions]
    assert inputs.count("/image") == 1


def test_a_calibration_that_was_published_once_before_the_node_came_is_received(world, plain_node):
    world.client.create_publisher(CameraInfo, "/camera_info", LATCHED).publish(CameraInfo(width=7))
    node = plain_node()
    infos = node.cameras[0].frames.calibrations.infos
    world.spin_until(lambda: infos, "it arrives")
    assert infos[0].width == 7
    assert profiles(node)["/camera_info"].durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    world.client.create_publisher(CameraInfo, "/camera_info", RELIABLE)
    world.spin_until(
        lambda: profiles(node)["/camera_info"].durability == QoSDurabilityPolicy.VOLATILE,
        "it is asked for as all offer it",
    )


def test_a_durability_that_was_asked_for_stays(world, plain_node, capfd):
    asked = {"qos_overrides./camera_info.subscription.durability": "transient_local"}
    node = plain_node(**asked)
    world.client.create_publisher(CameraInfo, "/camera_info", RELIABLE)
    wait_for_log(
        world, capfd, "a publisher of /camera_info offers an incompatible QoS (DURABILITY)"
    )
    node.cameras[0].inputs[1]._look()
    assert profiles(node)["/camera_info"].durability == QoSDurabilityPolicy.TRANSIENT_LOCAL


TRANSPORTS = {
    "the compressed topic for the raw one": (
        "raw",
        CompressedImage,
        "/cam/image_raw/compressed",
        "/cam/image_raw/compressed",
        "-p image_transport:=compressed -r image:=/cam/image_raw)",
    ),
    "a compressed topic of another name": (
        "raw",
        CompressedImage,
        "/cam/jpeg",
        "/cam/jpeg",
        "-p image_transport:=compressed -r image/compressed:=/cam/jpeg)",
    ),
    "compressed images alone beside the raw topic": (
        "raw",
        CompressedImage,
        "/cam/image_raw",
        "/cam/image_raw/compressed",
        "-p image_transport:=compressed -r image:=/cam/image_raw)",
    ),
    "raw images on the compressed topic": (
        "compressed",
        Image,
        "/cam/image_raw",
        "/cam/image_raw/compressed",
        "-p image_transport:=raw -r image:=/cam/image_raw/compressed)",
    ),
    "raw images alone beside the compressed topic": (
        "compressed",
        Image,
        "/cam/image_raw",
        "/cam/image_raw",
        "-p image_transport:=raw -r image:=/cam/image_raw)",
    ),
}


@pytest.mark.parametrize("name", TRANSPORTS)
def test_images_of_the_other_type_are_named_with_what_reads_them(world, capfd, monkeypatch, name):
    transport, kind, remapped, published, advice = TRANSPORTS[name]
    monkeypatch.setattr("ppd_ros.silence.SILENCE_S", 0.05)
    out = world.client.create_publisher(kind, published, RELIABLE)
    node = world.depth_node(
        cli_args=["--ros-args", "-r", f"image:={remapped}"],
        image_transport=transport,
        autostart=False,
    )
    world.spin_until(lambda: node.count_publishers(out.topic_name), "the publisher is seen")
    node.trigger_configure()
    node.trigger_activate()
    wait_for_log(world, capfd, "no image on ", advice)


def test_a_topic_of_another_type_is_named(world, plain_node):
    node = plain_node()
    images = node.cameras[0].inputs[0]
    world.client.create_publisher(Image, "/image", RELIABLE)
    other = world.add(lambda context: Node("other", context=context, use_global_arguments=False))
    other.create_publisher(CompressedImage, "/image", BEST_EFFORT)
    world.spin_until(lambda: node.count_publishers("/image") == 2, "both are seen")
    assert images.describe_publishers() == (
        "2 publishers, of sensor_msgs/msg/CompressedImage where sensor_msgs/msg/Image is read"
    )
    world.spin_until(lambda: images.is_reliable, "what cannot be heard decides nothing")


def test_messages_without_a_frame_are_told_of_once_for_each_topic(world, capfd):
    node, camera, _ = world.active(alignment__source="depth")
    depth_out = world.client.create_publisher(Image, "/depth_in", RELIABLE)
    world.spin_until(depth_out.get_subscription_count, "depth_in is matched")
    received = node.cameras[0].statistics.counts["in"]
    for number in (1, 2):
        stamp = camera.now()
        depth_out.publish(Image(header=Header(stamp=stamp)))
        camera.info_out.publish(CameraInfo(header=Header(stamp=stamp, frame_id="camera")))
        camera.image_out.publish(Image(header=Header(stamp=stamp)))
        world.spin_until(
            lambda n=number: node.cameras[0].statistics.counts["in"] == received + n, "an image"
        )
    world.spin_until(
        lambda: node.cameras[0].metres.ties.source._topic.messages.num_received == 2, "depth"
    )
    said = capfd.readouterr().err
    assert said.count("a message of /image has no frame_id") == 1
    assert said.count("a message of /depth_in has no frame_id") == 1
    assert "/camera_info has no frame_id" not in said


@pytest.mark.parametrize("asked", ["best_effort", "reliable"])
def test_a_reliability_that_was_asked_for_stays(world, plain_node, asked):
    node = plain_node(**{"qos_overrides./image.subscription.reliability": asked})
    world.client.create_publisher(Image, "/image", RELIABLE)
    world.spin_until(lambda: node.count_publishers("/image") == 1, "it is seen")
    node.cameras[0].inputs[0]._look()
    assert is_reliable(node, "/image") == (asked == "reliable")


def test_a_reliability_that_is_none_is_refused(world, capfd):
    node = world.depth_node(**{"qos_overrides./image.subscription.reliability": "perhaps"})
    world.spin_until(lambda: "must be one of auto" in capfd.readouterr().err, "it is said")
    assert not node.is_active


def test_outputs_are_reliable_and_keep_one(plain_node):
    for publisher in plain_node().cameras[0].outputs.values():
        profile = publisher.qos_profile
        assert profile.reliability == QoSReliabilityPolicy.RELIABLE
        assert profile.durability == QoSDurabilityPolicy.VOLATILE
        assert (profile.history, profile.depth) == (QoSHistoryPolicy.KEEP_LAST, 1)


def test_an_override_changes_its_own_topic_alone(plain_node):
    node = plain_node(**{"qos_overrides./ppd/points.publisher.reliability": "best_effort"})
    profiles = {p.topic_name: p.qos_profile for p in node.cameras[0].outputs.values()}
    assert profiles["/ppd/points"].reliability == QoSReliabilityPolicy.BEST_EFFORT
    assert profiles["/ppd/depth/image"].reliability == QoSReliabilityPolicy.RELIABLE


@pytest.mark.parametrize("profile", [BEST_EFFORT, RELIABLE, LATCHED])
def test_any_camera_fits(world, plain_node, profile, capfd):
    node = plain_node()
    camera_out = world.client.create_publisher(Image, "/image", profile)

    def arrives():
        camera_out.publish(Image())
        return node.cameras[0].statistics.counts["in"] > 0

    world.spin_until(arrives, "an image arrives")
    assert "incompatible" not in capfd.readouterr().err


@pytest.mark.parametrize("profile", [BEST_EFFORT, RELIABLE])
def test_any_subscriber_without_durability_fits(world, plain_node, profile):
    node = plain_node()
    world.subscribe(PointCloud2, "/ppd/points", profile)
    points = node.cameras[0].outputs["points"]
    world.spin_until(lambda: points.get_subscription_count() == 1, "the two are matched")


def wait_for_log(world, capfd, *words):
    log = []

    def has_said():
        log.append(capfd.readouterr().err)
        return all(word in "".join(log) for word in words)

    world.spin_until(has_said, f"a warning with {words}")


def test_subscriber_that_asks_for_too_much_is_named_with_the_topic(world, plain_node, capfd):
    plain_node()
    world.subscribe(PointCloud2, "/ppd/points", LATCHED)
    wait_for_log(
        world,
        capfd,
        "a subscriber of /ppd/points asks for an incompatible QoS (DURABILITY)",
        "qos_overrides./ppd/points.publisher",
    )


def test_camera_that_offers_too_little_is_named_with_the_topic(world, plain_node, capfd):
    plain_node(**{"qos_overrides./image.subscription.reliability": "reliable"})
    world.client.create_publisher(Image, "/image", BEST_EFFORT)
    wait_for_log(
        world,
        capfd,
        "a publisher of /image offers an incompatible QoS (RELIABILITY)",
        "qos_overrides./image.subscription",
    )


def test_remapped_topic_is_named_as_it_really_is(world, capfd):
    node = world.depth_node(
        cli_args=["--ros-args", "-r", "image:=/front/image_raw"],
        **{"qos_overrides./front/image_raw.subscription.reliability": "reliable"},
    )
    world.wait_active(node)
    world.client.create_publisher(Image, "/front/image_raw", BEST_EFFORT)
    wait_for_log(world, capfd, "a publisher of /front/image_raw offers an incompatible QoS")
