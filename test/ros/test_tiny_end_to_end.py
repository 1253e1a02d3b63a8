"""The real node with the real `tiny` model, and the demo, in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.image_files import read_image
from ppd_ros.children import Child, domain_environment, ended_children
from ppd_ros.conversions import cloud_to_points, image_to_depth

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def start(module, *arguments):
            child = Child(module, module, arguments, log_folder=tmp_path, environment=environment)
            children.append(child)
            return child

        yield start


def test_tiny_model_turns_images_into_depth_and_points(world, start):
    node = start(
        "ppd_ros.depth_node",
        *("--ros-args", "--params-file", str(ROOT / "config" / "ppd.yaml")),
        *("-p", "model:=tiny", "-p", "alignment.source:=constant", "-p", "num_steps:=2"),
        *("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"),
    )
    camera = world.camera(image="/camera/image_raw", info="/camera/camera_info")
    depth = world.subscribe(Image, "/ppd/depth/image")
    infos = world.subscribe(CameraInfo, "/ppd/depth/camera_info")
    clouds = world.subscribe(PointCloud2, "/ppd/points")
    sent = {}
    rgb = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)

    def all_came():
        assert node.status is None, node.output
        if time.monotonic() > all_came.next_s:
            all_came.next_s = time.monotonic() + 0.2
            camera.send_info(width=128, height=96)
            image = camera.send(rgb)
            sent[image.header.stamp.sec, image.header.stamp.nanosec] = image
        return depth and infos and clouds

    all_came.next_s = 0.0
    world.spin_until(all_came, "depth, camera_info and points", timeout_s=DEADLINE_S)
    for message in (depth[0], infos[0], clouds[0]):
        stamp = message.header.stamp
        assert message.header == sent[stamp.sec, stamp.nanosec].header
    metres = image_to_depth(depth[0])
    assert metres.shape == (96, 128)
    assert np.isfinite(metres).any()
    assert not (metres <= 0).any()
    points, colors = cloud_to_points(clouds[0])
    assert np.array_equal(colors, rgb)
    assert np.isfinite(points[..., 2]).any()
    node.send(signal.SIGINT)
    assert node.wait(DEADLINE_S) == 0
    assert "model tiny is UNTRAINED" in node.output
    assert " 0 bad, 0 failed" in node.output


@pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photos come with scikit-image"
)
def test_demo_writes_what_it_promises(start, tmp_path):
    out = tmp_path / "new" / "folder"
    demo = start(
        "ppd_ros.demo",
        *("-o", str(out), "--photos", "chelsea", "--frames", "2"),
        *("--timeout-s", str(DEADLINE_S)),
    )
    assert demo.wait(DEADLINE_S + 30) == 0, demo.output
    photo_and_depth = read_image(out / "chelsea.png")
    assert photo_and_depth.shape == (300, 902, 3)
    assert read_image(out / "chelsea_side.png").std() > 1
    assert (out / "chelsea.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames_complete"] >= 2
    assert summary["photos"][0]["photo"] == "chelsea"
    assert "UNTRAINED" in summary["note"]
    assert "UNTRAINED" in demo.output
    assert "It is not depth" in demo.output
    assert "frames/s" in demo.output
    assert "node:   frames: " in demo.output
    assert "camera: " in demo.output


@pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photos come with scikit-image"
)
def test_demo_that_cannot_work_shows_why(start, tmp_path):
    demo = start(
        "ppd_ros.demo",
        *("-o", str(tmp_path / "out"), "--photos", "chelsea", "--model", "no-such-model"),
        *("--timeout-s", str(10 * DEADLINE_S)),  # It need not wait for the recorder's time.
    )
    assert demo.wait(DEADLINE_S) == 1
    assert "ppd-demo: the node is not configured" in demo.output
    assert "cannot configure: unknown model 'no-such-model'" in demo.output
    assert not list((tmp_path / "out").glob("*.png"))


def test_demo_ends_with_1_when_it_cannot_write(start, tmp_path):
    (tmp_path / "file").write_text("")
    demo = start("ppd_ros.demo", "-o", str(tmp_path / "file" / "out"))
    assert demo.wait(DEADLINE_S) == 1
    assert "ppd-demo: " in demo.output
    assert "Traceback" not in demo.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "/proc"), "ppd-demo: "),
        (("--rate-hz", "0"), "must be in (0, 1000] a second, got 0"),
    ],
)
def test_demo_refuses_what_it_cannot_use_in_one_line(start, tmp_path, arguments, words):
    demo = start("ppd_ros.demo", *arguments)
    assert demo.wait(DEADLINE_S) in (1, 2)
    assert words in demo.output
    assert "Traceback" not in demo.output


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photos come with scikit-image"
)
def test_demo_stopped_by_ctrl_c_leaves_no_process(start, tmp_path):
    demo = start("ppd_ros.demo", "-o", str(tmp_path / "out"))
    deadline_s = time.monotonic() + DEADLINE_S
    children: list[str] = []
    while len(children) < 3:
        assert demo.status is None and time.monotonic() < deadline_s, demo.output
        time.sleep(0.02)
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    demo.send(signal.SIGINT)
    assert demo.wait(DEADLINE_S) == 130
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
