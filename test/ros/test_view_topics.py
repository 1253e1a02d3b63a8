"""`ppd view topics`, in a process of its own, shows what the test publishes."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from ppd_core.types import Intrinsics
from ppd_core.view import blueprint as at
from ppd_core.view.assembly import Role
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.children import Child, domain_environment, ended_children
from ppd_ros.conversions import depth_to_image, depth_to_image_mm, points_to_cloud, rgb_to_image

pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
WIDTH, HEIGHT = 8, 6
NAMESPACE = "/robot1"

READ = """
import json, sys
from rerun.chunk import RrdReader
found = {}
for chunk in RrdReader(sys.argv[1]).stream().to_chunks():
    path, batch = chunk.entity_path.lstrip("/"), chunk.to_record_batch()
    for name in batch.schema.names:
        if name.split(":")[0] in ("Points3D", "DepthImage", "Scalars", "StateChange", "TextLog"):
            values = [one for one in batch.column(name).to_pylist() if one]
            found.setdefault(path, {}).setdefault(name, []).extend(values)
    found.setdefault(path, {}).setdefault("timelines", []).extend(chunk.timeline_names)
print(json.dumps(found))
"""


@pytest.fixture
def publishers(world):
    """Topic -> publisher, of a camera and a depth node in a namespace."""
    kinds = {
        "/front/image_raw": Image,
        "/front/camera_info": CameraInfo,
        f"{NAMESPACE}/depth_in": Image,
        f"{NAMESPACE}/ppd/depth/image": Image,
        f"{NAMESPACE}/ppd/depth/camera_info": CameraInfo,
        f"{NAMESPACE}/ppd/points": PointCloud2,
        "/diagnostics": DiagnosticArray,
    }
    return {topic: world.client.create_publisher(kind, topic, 5) for topic, kind in kinds.items()}


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    """Starts `ppd view topics --save`, ended with the test."""
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def run(*words):
            child = Child(
                "view", "ppd_ros.view_topics", words, log_folder=tmp_path, environment=environment
            )
            children.append(child)
            return child

        yield run


def metres():
    depth = np.linspace(1, 3, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    depth[0, :2] = np.nan, np.inf
    return depth


def send_frame(world, publishers):
    """All messages of one frame."""
    header = Header(stamp=world.client.get_clock().now().to_msg(), frame_id="front_optical_frame")
    camera = Intrinsics.from_focal(WIDTH, HEIGHT, 10.0)
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)
    points = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    points[...] = 1, 2, 3
    points[0, 0] = np.nan
    values = {"lifecycle": "active", "sample p50 (ms)": "31.5"}
    frames = DiagnosticStatus(
        name="robot1/ppd: frames", values=[KeyValue(key=k, value=v) for k, v in values.items()]
    )
    values = {"state": "held", "source": "depth", "scale": "1.5", "failure": "too few samples"}
    alignment = DiagnosticStatus(
        name="robot1/ppd: alignment",
        level=DiagnosticStatus.WARN,
        message="the last good metres are carried on",
        values=[KeyValue(key=k, value=v) for k, v in values.items()],
    )
    messages = {
        "/front/camera_info": intrinsics_to_info(camera, header),
        "/front/image_raw": rgb_to_image(rgb, header),
        f"{NAMESPACE}/depth_in": depth_to_image_mm(metres(), header),
        f"{NAMESPACE}/ppd/depth/camera_info": intrinsics_to_info(camera, header),
        f"{NAMESPACE}/ppd/depth/image": depth_to_image(metres(), header),
        f"{NAMESPACE}/ppd/points": points_to_cloud(points, rgb, header),
        "/diagnostics": DiagnosticArray(header=header, status=[frames, alignment]),
    }
    for topic, message in messages.items():
        publishers[topic].publish(message)


def shown(path):
    """What the file holds; read in a process of its own, as DDS and Rerun share none."""
    import subprocess

    read = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(read, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_topics_are_shown_as_they_come(world, publishers, start, tmp_path):
    path = tmp_path / "live.rrd"
    remapped = ["-r", "image:=/front/image_raw", "-r", "camera_info:=/front/camera_info"]
    child = start(
        *("--save", str(path), "--frames", "3"),
        *("--ros-args", "-r", f"__ns:={NAMESPACE}", *remapped),
    )

    def has_ended():
        # Not before all are matched: three depth images might else come without their clouds.
        is_heard = all(one.get_subscription_count() for one in publishers.values())
        if is_heard and time.monotonic() > has_ended.next_s:
            has_ended.next_s = time.monotonic() + 0.2
            send_frame(world, publishers)
        return child.status is not None

    has_ended.next_s = 0.0
    world.spin_until(has_ended, "three frames", timeout_s=DEADLINE_S)
    assert child.status == 0, child.output
    assert "tf2_msgs is not installed" in child.output or _has_tf()
    found = shown(path)
    depths = found[at.DEPTH]["DepthImage:buffer"]
    assert len(depths) == 3
    assert bytes(depths[0][0]) == metres().tobytes()
    assert len(found[at.SENSOR]["DepthImage:buffer"]) >= 2
    points, colors = (found[at.CLOUD][f"Points3D:{name}"][0] for name in ("positions", "colors"))
    assert points == [[1, 2, 3]] * (WIDTH * HEIGHT - 1)
    assert set(colors) == {0xC86432FF}
    assert set(found[at.DEPTH]["timelines"]) == {at.STAMP, at.FRAME}
    late_ms = [one for (one,) in found[f"{at.LATENCY}/depth_after_stamp"]["Scalars:scalars"]]
    assert len(late_ms) == 3 and all(0 < one < 1e3 * DEADLINE_S for one in late_ms)
    assert found[at.STATE]["StateChange:state"][0] == ["held"]
    assert ["held: too few samples"] in found[at.LOG]["TextLog:text"]


def _has_tf():
    return importlib.util.find_spec("tf2_msgs") is not None


def test_silence_is_told_of_and_interruption_is_clean(start, world, tmp_path):
    path = tmp_path / "live.rrd"
    child = start("--save", str(path))
    text = "no depth yet; listening to /image (0 publishers)"
    world.spin_until(lambda: text in child.output, "it says so", timeout_s=DEADLINE_S)
    child.send(signal.SIGINT)
    assert child.wait(DEADLINE_S) == 130
    assert "Traceback" not in child.output
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-r", "::"], "ROS cannot start"),
        (
            ["-p", "image_transport:=fax"],
            "image_transport must be one of raw, compressed",
        ),
        (["-p", "image_kind:=bent"], "image_kind must be one of auto, raw, rectified"),
        (["-p", "depth_unit_m:=-0.1"], "depth_unit_m must be finite and >= 0"),
    ],
)
def test_wrong_ros_arguments_are_one_sentence(start, tmp_path, words, reason):
    child = start("--save", str(tmp_path / "x.rrd"), "--ros-args", *words)
    assert child.wait(DEADLINE_S) == 2
    assert f"ppd view: {reason}" in child.output
    assert "Traceback" not in child.output


@pytest.fixture
def viewer(world):
    """A listener in the test's own process."""
    from rclpy.node import Node
    from rclpy.parameter import Parameter

    from ppd_ros.view_topics import TopicViewer

    made = []

    def make_node(context):
        transport = Parameter("image_transport", value="compressed")
        node = Node("viewer", context=context, parameter_overrides=[transport])
        made.append(TopicViewer(node))
        return node

    world.add(make_node)
    return made[0]


def test_compressed_images_are_shown(world, viewer):
    import cv2

    sender = world.client.create_publisher(CompressedImage, "/image/compressed", 5)
    world.spin_until(sender.get_subscription_count, "it subscribes")
    bgr = np.full((HEIGHT, WIDTH, 3), (50, 100, 200), np.uint8)
    message = CompressedImage(format="png", data=cv2.imencode(".png", bgr)[1].tobytes())
    message.header.stamp = world.client.get_clock().now().to_msg()
    world.spin_until(lambda: sender.publish(message) or viewer.frames, "a frame")
    assert (viewer.frames[0].image == (200, 100, 50)).all()
    assert "image after stamp" in viewer.frames[0].latencies_ms


def test_a_message_that_cannot_be_read_ends_nothing(world, viewer, monkeypatch):
    sender = world.client.create_publisher(Image, "/ppd/depth/image", 5)
    world.spin_until(sender.get_subscription_count, "it subscribes")
    header = Header(stamp=world.client.get_clock().now().to_msg())
    warnings = []
    monkeypatch.setattr(viewer, "_warn", lambda key, text: warnings.append(text))

    def both_came():
        # Again and again: the subscription is made anew when it knows what is offered.
        sender.publish(Image(header=header, width=8, height=6, encoding="bgr8", step=24))
        sender.publish(depth_to_image(metres(), header))
        return warnings and viewer.frames

    world.spin_until(both_came, "a warning, and the good one")
    assert warnings[0].startswith("/ppd/depth/image: depth encoding must be 32FC1 or ")
    assert viewer.frames[0].depth.tobytes() == metres().tobytes()


def test_the_source_is_declared_and_is_what_the_command_asks_for():
    import tomllib

    from ppd_core.cli.view_sources import TOPICS
    from ppd_core.view.sources import GROUP

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"][GROUP]
    found = importlib.metadata.EntryPoint(TOPICS, declared[TOPICS], GROUP).load()
    from ppd_ros.view_topics import open_source

    assert found is open_source


def test_every_role_but_tf_has_a_topic():
    from ppd_ros.view_topics import TOPICS

    roles = {role for _, role in TOPICS.values()}
    assert roles | {Role.TF, Role.TF_STATIC, Role.ALIGNMENT} == set(Role)


def test_the_page_on_it_names_the_topics():
    from ppd_ros.view_topics import TOPICS

    page = (ROOT / "docs" / "view.md").read_text(encoding="utf-8")
    assert {name for name in TOPICS if f"`{name}`" not in page} == set()
