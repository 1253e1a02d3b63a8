from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from rosbags.highlevel import AnyReader

from ppd_core.bag.messages import message_to_depth, message_to_intrinsics, message_to_rgb, stamp_ns
from ppd_core.bag.writer import BagWriter
from ppd_core.sim.camera import RgbdCamera
from ppd_core.sim.motion import MovingScene
from ppd_core.sim.recording import START_NS, TABLE_SEED, RecordingConfig, record
from ppd_core.sim.scenes import HELD_OUT_SEEDS
from ppd_core.sim.views import look_at, pose_parts

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def camera(open_camera):
    with open_camera(WIDTH, HEIGHT) as made:
        yield made


def recorded(folder: Path, **values: Any) -> dict[str, list[Any]]:
    """Topic -> messages of what is recorded into a folder."""
    config = RecordingConfig(width=WIDTH, height=HEIGHT, rate_hz=5.0, seconds=0.6, **values)
    done: list[None] = []
    with BagWriter(folder) as writer:
        record(writer, config, on_frame=lambda: done.append(None))
        writer.close({})
    assert len(done) == config.frame_count == 3
    found: dict[str, list[Any]] = {}
    with AnyReader([folder]) as reader:
        for connection, log_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message))
    return found


def test_raw_and_compressed_recordings_hold_the_same_frames(tmp_path: Path, camera: RgbdCamera):
    raw = recorded(tmp_path / "raw", is_raw=True)
    small = recorded(tmp_path / "small")
    assert set(raw) == {
        *("/tf", "/camera/camera_info", "/camera/image", "/camera/depth_in", "/camera/truth")
    }
    scene = MovingScene(TABLE_SEED, "table")
    for number in range(3):
        expected = camera.render(scene.scene, scene.move_to(number / 5))
        for topic, messages in [*raw.items(), *small.items()]:
            log_ns, message = messages[number]
            assert log_ns == START_NS + number * 200_000_000
            header = message.transforms[0].header if topic == "/tf" else message.header
            assert header.stamp.sec * 10**9 + header.stamp.nanosec == log_ns
        image = message_to_rgb(raw["/camera/image"][number][1])
        assert np.array_equal(image, expected.image)
        jpeg = message_to_rgb(small["/camera/image/compressed"][number][1])
        assert np.abs(jpeg.astype(int) - image).mean() < 4
        truth = message_to_depth(raw["/camera/truth"][number][1])
        assert np.array_equal(truth, np.where(expected.valid_mask, expected.depth, np.nan), True)
        sensed = message_to_depth(raw["/camera/depth_in"][number][1])
        png = message_to_depth(small["/camera/depth_in/compressedDepth"][number][1])
        assert np.array_equal(sensed, png, equal_nan=True)
        png = message_to_depth(small["/camera/truth/compressedDepth"][number][1])
        np.testing.assert_allclose(png, truth, atol=0.000501)
        info = message_to_intrinsics(raw["/camera/camera_info"][number][1], WIDTH, HEIGHT)
        assert info == expected.intrinsics
        assert stamp_ns(small["/camera/camera_info"][number][1]) == log_ns


def test_sensor_without_faults_sees_the_truth(tmp_path: Path, camera: RgbdCamera):
    found = recorded(tmp_path / "bag", is_raw=True, has_depth_faults=False)
    sensed, truth = (message_to_depth(found[f"/camera/{t}"][0][1]) for t in ("depth_in", "truth"))
    np.testing.assert_allclose(sensed, truth, atol=0.000501)


def test_pose_parts_turn_the_optical_axes_to_the_world_s():
    pose = look_at(np.array([1.0, 0.0, 0.5]), np.array([3.0, 0.0, 0.5]))
    translation, quaternion = pose_parts(pose)
    assert translation == [1.0, 0.0, 0.5]
    # Looking along x: right is -y, down is -z. That is (-0.5, 0.5, -0.5, 0.5), or its opposite.
    np.testing.assert_allclose(
        np.array(quaternion) * np.sign(quaternion[3]), [-0.5, 0.5, -0.5, 0.5]
    )


def test_scene_that_is_shown_is_none_that_models_are_trained_on():
    assert TABLE_SEED in HELD_OUT_SEEDS


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("width", 8), ("height", 5000), ("rate_hz", 0.0), ("seconds", float("nan"))],
)
def test_value_that_makes_no_sense_is_refused(name: str, value: Any):
    with pytest.raises(ValueError, match=f"{name} must be in .*, got {value}"):
        RecordingConfig(**{name: value})
