"""Recordings written by the writer, shown by `ppd view --save`, and read back by Rerun."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ppd_core.cli import main
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import pack_xyzrgb
from ppd_core.status_report import ERROR, OK, StatusReport
from ppd_core.types import Alignment, AlignmentError, Intrinsics
from ppd_core.view import blueprint as at

from .conftest import STAMP_NS, Shown

MS = 10**6
FRAME_ID = "camera_optical_frame"
COUNT = 3
WIDTH, HEIGHT = 24, 16


@pytest.fixture
def camera():
    return Intrinsics.from_fov(WIDTH, HEIGHT, 60.0)


@pytest.fixture
def record(tmp_path, camera):
    """Writes a recording of three frames; `without` names topics that it does not have."""
    pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
    pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")
    from ppd_core.bag import making
    from ppd_core.bag.writer import BagWriter

    def run(*, without=(), failing=None, source="depth"):
        folder = tmp_path / "run"
        with BagWriter(folder) as writer:

            def write(topic, log_ns, message):
                if topic not in without:
                    writer.write(topic, log_ns, message)

            for index in range(COUNT):
                stamp_ns = STAMP_NS + index * 100 * MS
                header = making.make_header(stamp_ns, FRAME_ID)
                place = making.transform_message(
                    stamp_ns,
                    "odom",
                    FRAME_ID,
                    (index, 2, 3),
                    (0, 0, math.sqrt(0.5), math.sqrt(0.5)),
                )
                image, depth = picture(index), metres(index)
                cloud = pack_xyzrgb(
                    torch.from_numpy(depth), ray_table(camera), torch.from_numpy(image)
                )
                alignment = Alignment(1.5, 0.25, "depth", "fitted", inlier_ratio=0.75, rmse_m=0.5)
                failure = AlignmentError("few_samples", "want 64, got 0") if index == 2 else None
                tied = making.alignment_message(
                    None if failure else alignment, header, source=source, failure=failure
                )
                write("/camera/image", stamp_ns, making.rgb_message(image, header))
                write("/camera/camera_info", stamp_ns, making.info_message(camera, header))
                write("/camera/depth_in", stamp_ns, making.depth_mm_message(depth + 1, header))
                out_ns = stamp_ns + 40 * MS
                write("/ppd/depth/image", out_ns, making.depth_message(depth, header))
                write("/ppd/points", out_ns, making.cloud_message(cloud, header))
                write("/ppd/alignment", out_ns, tied)
                # After what it is needed for, as from a robot whose tf is slow.
                write("/tf", out_ns + 5 * MS, place)
            failed = {"state": "lost", "source": source, "failure": "too few"}
            working = {"lifecycle": "active", "sample p50 (ms)": "31.5"}
            statuses = [
                StatusReport("ppd: frames", OK, "", working),
                StatusReport("ppd: alignment", ERROR, "no metres: few_samples", failed),
                StatusReport("battery", ERROR, "empty"),
            ]
            end_ns = STAMP_NS + 1000 * MS
            write("/diagnostics", end_ns, making.diagnostics_message(end_ns, statuses))
            writer.close({})
        return folder

    return run


def picture(index):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[...] = 40 * (index + 1), 100, 200
    return image


def metres(index):
    depth = np.linspace(1, 3, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH) + index
    depth[0, :2] = np.nan, np.inf
    return depth


@pytest.fixture
def view(tmp_path, monkeypatch):
    """`ppd view WORDS --save`: the exit status and what was shown."""
    pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")
    path = tmp_path / "shown.rrd"

    def run(*words):
        status = main(["view", *map(str, words), "--save", str(path)])
        return status, Shown(path)

    return run


@pytest.fixture
def no_model(monkeypatch):
    """Fails the test when a model is loaded."""
    from ppd_core import DepthPipeline

    def refuse(*args, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(DepthPipeline, "from_pretrained", refuse)


def test_recorded_outputs_are_shown_as_recorded_and_no_model_is_loaded(
    record, view, no_model, capsys
):
    status, shown = view(record())
    assert status == 0
    depths = shown.depths(at.DEPTH)
    assert [depth.tobytes() for depth in depths] == [metres(i).tobytes() for i in range(COUNT)]
    sensors = shown.depths(at.SENSOR)
    behind = np.where(np.isfinite(metres(1)), metres(1) + 1, np.nan)
    np.testing.assert_allclose(sensors[1], behind, atol=6e-4)  # whole millimetres
    assert len(shown.values(at.IMAGE, "EncodedImage:blob")) == COUNT
    assert shown.values(at.DEPTH, at.FRAME) == [0, 1, 2]
    stamps = [STAMP_NS + index * 100 * MS for index in range(COUNT)]
    assert shown.values(at.DEPTH, at.STAMP) == stamps
    told = capsys.readouterr()
    assert "shown as recorded: /camera/camera_info, /camera/depth_in" in told.err
    assert told.out == "3 frames shown\n"


@pytest.mark.parametrize("prefix", ["/ppd", "/robot1/ppd", "/ppd/left", "/mine"])
def test_outputs_are_known_by_any_namespace(prefix):
    from ppd_core.bag.recording import BagTopic
    from ppd_core.bag.topics import ChosenTopics
    from ppd_core.view.assembly import Role
    from ppd_core.view.recording import recorded_roles

    kinds = {
        f"{prefix}/depth/image": ("sensor_msgs/msg/Image", Role.DEPTH),
        f"{prefix}/depth/camera_info": ("sensor_msgs/msg/CameraInfo", Role.INFO),
        f"{prefix}/points": ("sensor_msgs/msg/PointCloud2", Role.POINTS),
        f"{prefix}/alignment": ("ppd_ros/msg/Alignment", Role.ALIGNMENT),
        "/camera/image": ("sensor_msgs/msg/Image", Role.IMAGE),
        "/tf": ("tf2_msgs/msg/TFMessage", Role.TF),
        "/tf_static": ("tf2_msgs/msg/TFMessage", Role.TF_STATIC),
    }
    topics = {name: BagTopic(name, kind) for name, (kind, _) in kinds.items()}
    topics["/lidar/points"] = BagTopic("/lidar/points", "sensor_msgs/msg/PointCloud2")
    # As `choose_topics` would have it of the last: depth that it does not know for the node's.
    chosen = ChosenTopics("/camera/image", depth=f"{prefix}/depth/image")
    assert recorded_roles(topics, chosen) == {name: role for name, (_, role) in kinds.items()}


def test_the_recorded_cloud_is_the_one_that_is_shown(record, view, camera):
    _, shown = view(record())
    clouds = shown.values(at.CLOUD, "Points3D:positions")
    assert len(clouds) == COUNT
    expected = (metres(1)[..., None] * ray_table(camera).numpy()).reshape(-1, 3)
    np.testing.assert_allclose(clouds[1], expected[np.isfinite(expected).all(axis=1)], rtol=1e-6)
    colors = shown.values(at.CLOUD, "Points3D:colors")
    assert set(colors[1]) == {0x5064C8FF}


def test_without_a_cloud_one_is_made_of_depth_and_coloured_by_its_image(record, view):
    _, shown = view(record(without=["/ppd/points"]))
    clouds = shown.values(at.CLOUD, "Points3D:positions")
    assert [len(cloud) for cloud in clouds] == [HEIGHT * WIDTH - 2] * COUNT
    assert set(shown.values(at.CLOUD, "Points3D:colors")[2]) == {0x7864C8FF}


def test_the_camera_s_place_is_found_though_tf_comes_late(record, view):
    _, shown = view(record())
    translations = shown.values(at.CAMERA, "Transform3D:translation")
    assert translations == [[[index, 2, 3]] for index in range(COUNT)]
    assert shown.values(at.CAMERA, at.FRAME) == [0, 1, 2]
    rotation = np.array(shown.values(at.CAMERA, "Transform3D:mat3x3")[0][0]).reshape(3, 3).T
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, 1, 0], atol=1e-6)


def test_recorded_alignments_and_diagnostics_are_plotted(record, view):
    _, shown = view(record())
    assert shown.values(f"{at.ALIGNMENT}/scale", "Scalars:scalars") == [[1.5], [1.5]]
    assert shown.values(f"{at.ALIGNMENT}/inlier_ratio", "Scalars:scalars") == [[0.75], [0.75]]
    states = [["fitted"], ["fitted"], ["lost"], ["lost"]]
    assert shown.values(at.STATE, "StateChange:state") == states
    texts = [text for (text,) in shown.values(at.LOG, "TextLog:text")]
    assert texts == [
        "lost: few_samples",
        "lost: too few",
        "ppd: alignment: no metres: few_samples",
    ]
    assert shown.values(f"{at.LATENCY}/sample", "Scalars:scalars") == [[31.5]]
    late = shown.values(f"{at.LATENCY}/depth_after_stamp", "Scalars:scalars")
    assert late == [[pytest.approx(40.0)]] * COUNT


def test_a_recording_without_outputs_goes_through_the_model(record, view, capsys):
    folder = record(without=["/ppd/depth/image", "/ppd/points", "/ppd/alignment"])
    words = ["--model", "tiny", "--steps", "1", "--processing-area", "1024"]
    status, shown = view(folder, *words)
    assert status == 0
    assert [depth.shape for depth in shown.depths(at.DEPTH)] == [(HEIGHT, WIDTH)] * COUNT
    assert len(shown.depths(at.SENSOR)) == COUNT
    assert shown.values(at.DEPTH, at.STAMP)[0] == STAMP_NS
    translations = shown.values(at.CAMERA, "Transform3D:translation")
    assert translations == [[[index, 2, 3]] for index in range(COUNT)]
    said = capsys.readouterr().err
    assert "through the model: /camera/image, in metres by /camera/depth_in" in said
    assert "is taken to see" not in said  # the calibration was recorded


def test_a_damaged_message_is_told_of_and_the_rest_is_shown(record, view, capsys, monkeypatch):
    from ppd_core.view import assembly

    read = assembly.cloud_of_message

    def damaged(message):
        if message.header.stamp.nanosec == STAMP_NS % 10**9:
            raise ValueError("cloud data must be >= 768 bytes, got 3")
        return read(message)

    monkeypatch.setattr(assembly, "cloud_of_message", damaged)
    status, shown = view(record())
    assert status == 1
    assert "ppd view: /ppd/points: cloud data must be >= 768 bytes" in capsys.readouterr().err
    assert len(shown.values(at.CLOUD, "Points3D:positions")) == COUNT - 1
    assert len(shown.depths(at.DEPTH)) == COUNT


def test_what_is_no_recording_is_one_sentence(view, tmp_path, capsys):
    path = tmp_path / "broken.mcap"
    path.write_bytes(b"this is no recording")
    assert main(["view", str(path), "--save", str(tmp_path / "x.rrd")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ppd view: ") and "broken.mcap" in line
