"""The demo in processes of its own: what it writes, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from ppd_core.image_files import read_image
from ppd_ros.children import Child, domain_environment, ended_children
from ppd_ros.shows import node_arguments, photo_show, stereo_show, table_show

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
pytestmark = pytest.mark.timeout(300)
needs_photos = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photos come with scikit-image"
)


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def start(module, *arguments, variables=None):
            child = Child(
                module,
                module,
                arguments,
                log_folder=tmp_path,
                environment={**environment, **(variables or {})},
            )
            children.append(child)
            return child

        yield start


def opened(folder):
    highlevel = pytest.importorskip(
        "rosbags.highlevel", reason="recordings need rosbags, extra 'bag'"
    )
    return highlevel.AnyReader([folder])


def test_demo_of_the_table_writes_what_it_promises(start, tmp_path, rendering):
    out = tmp_path / "out"
    demo = start(
        "ppd_ros.demo",
        *("-o", str(out), "--frames", "2", "--timeout-s", str(DEADLINE_S)),
    )
    assert demo.wait(DEADLINE_S + 60) == 0, demo.output
    story = read_image(out / "story.png")
    assert abs(story.shape[1] - 1600) < 5 and story.std() > 1
    with PIL.Image.open(out / "demo.gif") as animation:
        assert animation.n_frames == 2
    for name in ("cloud", "truth"):
        assert (out / f"{name}.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")
    summary = json.loads((out / "summary.json").read_text())
    errors = summary["against_truth"]
    assert (errors["frames"], errors["frames_without_metres"]) == (2, 0)
    # In metres, with nothing fitted to the truth: a constant gives 0.2.
    assert 0 < errors["absrel"] < 0.1
    assert 0.8 < errors["delta1"] <= 1
    views = {row["view"]: row for row in summary["four_views"]["views"]}
    assert list(views) == ["sensor", "constant", "global", "local"]
    assert views["sensor"]["valid_share"] < 1 == views["local"]["valid_share"]
    assert views["local"]["rmse_m"] < views["global"]["rmse_m"]
    # The node steadies its scale over time; the view is of one frame alone.
    assert summary["four_views"]["node_difference"] < 0.02
    assert read_image(out / "alignment.png").std() > 1
    assert set(summary["latency_p50_p95_ms"]) == {
        *("image", "camera_info", "depth", "depth_info", "points", "sensor", "truth")
    }
    assert f"view {out / 'recording'}" in demo.output.splitlines()[-1]
    with opened(out / "recording") as reader:
        counts = {topic: info.msgcount for topic, info in reader.topics.items()}
    frame_topics = ("camera/image", "camera/camera_info", "camera/depth_in", "camera/truth")
    frame_topics += ("ppd/depth/image", "ppd/depth/camera_info", "ppd/points")
    assert {counts[f"/{topic}"] for topic in frame_topics} == {2}
    assert summary["recording"]["frames"] == 2
    for words in ("frames/s", "AbsRel", "nothing fitted to it", "four ways", "frames sent"):
        assert words in demo.output


@needs_photos
def test_demo_of_the_stereo_pair_writes_what_it_promises(start, tmp_path):
    out = tmp_path / "out"
    demo = start(
        "ppd_ros.demo",
        *("-o", str(out), "--stereo", "--model", "tiny", "--frames", "2"),
        *("--timeout-s", str(DEADLINE_S)),
    )
    assert demo.wait(DEADLINE_S + 60) == 0, demo.output
    for name in ("story.png", "alignment.png"):
        assert read_image(out / name).std() > 1
    assert not (out / "demo.gif").exists()
    summary = json.loads((out / "summary.json").read_text())
    sensor, constant, *fitted = summary["four_views"]["views"]
    assert sensor["valid_share"] == pytest.approx(0.87, abs=0.03)
    assert sensor["absrel"] < 0.03
    assert constant["title"] == "tiny, constant 1 .. 6 m"
    # Whether a model that nobody trained can be fitted is chance; what came of it is said.
    assert all(("refusal" in row) == (row["absrel"] is None) for row in fitted)
    assert "UNTRAINED" in demo.output


def test_shows_with_a_sensor_are_aligned_to_it_and_photos_to_a_constant():
    for show in (table_show("nano", 5.0), stereo_show("nano", 5.0)):
        arguments = node_arguments("nano", show)
        for words in ("alignment.source:=depth", "alignment.surfaces:=True", "model:=nano"):
            assert words in arguments
        assert "depth_in:=camera/depth_in" in arguments
        assert "near_m" not in " ".join(arguments)
    arguments = node_arguments("tiny", photo_show(["coffee"], 5.0))
    assert {"alignment.source:=constant", "alignment.far_m:=10.0"} <= set(arguments)


def test_the_demo_and_what_publishes_images_start_without_torch():
    """Its import takes seconds and 300 MB; only the node and the recorder need it."""
    names = "demo, sim_camera_node, bag_publisher, photo_publisher, stereo_publisher"
    program = f"import sys; from ppd_ros import {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=DEADLINE_S, cwd=ROOT)


@pytest.fixture
def no_vendor(tmp_path):
    """The dispatcher of EGL finds no vendor's library: as on a machine without Mesa."""
    return {"__EGL_VENDOR_LIBRARY_DIRS": str(tmp_path), "__EGL_VENDOR_LIBRARY_FILENAMES": ""}


def test_demo_that_cannot_render_plays_the_packaged_recording(start, tmp_path, no_vendor):
    pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
    pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")
    out = tmp_path / "out"
    demo = start(
        "ppd_ros.demo",
        *("-o", str(out), "--frames", "2", "--timeout-s", str(DEADLINE_S)),
        variables=no_vendor,
    )
    assert demo.wait(DEADLINE_S + 60) == 0, demo.output
    assert "a recording of it that comes with the package is played instead: " in demo.output
    assert "apt install" in demo.output
    for name in ("story.png", "alignment.png"):
        assert read_image(out / name).std() > 1
    errors = json.loads((out / "summary.json").read_text())["against_truth"]
    assert (errors["frames"], errors["frames_without_metres"]) == (2, 0)
    assert 0 < errors["absrel"] < 0.1
    assert "Traceback" not in demo.output + (out / "camera.log").read_text()


def test_demo_with_neither_says_what_to_install_and_what_works(start, tmp_path, no_vendor):
    pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
    (tmp_path / "rosbags.py").write_text("raise ImportError('hidden')")
    hidden = {**no_vendor, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    demo = start(
        "ppd_ros.demo", *("-o", str(tmp_path / "out"), "--model", "tiny"), variables=hidden
    )
    assert demo.wait(DEADLINE_S) == 1
    assert "ppd-demo: the player ended with status 1" in demo.output
    assert "pip install 'ppd_ros[bag]'" in demo.output
    for instead in ("--stereo", "--photos"):
        assert f"-m ppd_ros.demo {instead}" in demo.output
    assert "Traceback" not in demo.output


@needs_photos
def test_demo_of_photos_writes_what_it_promises(start, tmp_path):
    out = tmp_path / "new" / "folder"
    demo = start(
        "ppd_ros.demo",
        *("-o", str(out), "--photos", "chelsea", "--frames", "2"),
        *("--model", "tiny", "--timeout-s", str(DEADLINE_S)),
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


@needs_photos
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
        (("--stereo", "--photos"), "not allowed with argument --stereo"),
    ],
)
def test_demo_refuses_what_it_cannot_use_in_one_line(start, tmp_path, arguments, words):
    demo = start("ppd_ros.demo", *arguments)
    assert demo.wait(DEADLINE_S) in (1, 2)
    assert words in demo.output
    assert "Traceback" not in demo.output


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@needs_photos
def test_demo_stopped_by_ctrl_c_leaves_no_process(start, tmp_path):
    demo = start("ppd_ros.demo", "-o", str(tmp_path / "out"), "--photos")
    deadline_s = time.monotonic() + DEADLINE_S
    children: list[str] = []
    while len(children) < 3:
        assert demo.status is None and time.monotonic() < deadline_s, demo.output
        time.sleep(0.02)
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    demo.send(signal.SIGINT)
    assert demo.wait(DEADLINE_S) == 130
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
