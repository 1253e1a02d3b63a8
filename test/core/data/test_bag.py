from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ppd_core.bag.messages import message_to_depth, message_to_intrinsics, message_to_rgb
from ppd_core.cli import main
from ppd_core.data.bag import BagSet, open_bag, pair
from ppd_core.data.eval_samples import SampleError

HEIGHT, WIDTH = 24, 32
STORE = get_typestore(Stores.ROS2_HUMBLE)
IMAGE_STAMPS = (1_000, 1_033, 1_075, 1_500)  # ms
DEPTH_STAMPS = (1_000, 1_033, 1_066, 1_300)
PREFIX = "/camera/color"


def header(stamp_ms: int) -> Any:
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](stamp_ms // 1000, stamp_ms % 1000 * 10**6)
    return types["std_msgs/msg/Header"](stamp, "camera")


def image(stamp_ms: int, pixels: np.ndarray, encoding: str, padding: int = 0) -> Any:
    height, width = pixels.shape[:2]
    octets = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    octets = np.pad(octets, ((0, 0), (0, padding)))
    return STORE.types["sensor_msgs/msg/Image"](
        header(stamp_ms), height, width, encoding, 0, octets.shape[1], octets.reshape(-1)
    )


def info(width: int = WIDTH, height: int = HEIGHT, focal_px: float = 30.0) -> Any:
    types = STORE.types
    k = np.array([focal_px, 0, 15.5, 0, focal_px, 11.5, 0, 0, 1])
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return types["sensor_msgs/msg/CameraInfo"](
        header(1_000), height, width, "plumb_bob", np.zeros(5), k, np.eye(3).reshape(-1),
        np.zeros(12), 0, 0, roi,
    )  # fmt: skip


def rgb(index: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (10 * index, 100, 200), np.uint8)


def truth() -> np.ndarray:
    """Metres: a box before a wall, and a hole."""
    depth = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    depth[6:16, 8:20] = 1.5
    depth[:2, :4] = np.nan
    return depth


@pytest.fixture(params=["sqlite3", "mcap"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    plugin = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}[request.param]
    messages: list[tuple[int, str, Any]] = [(999, f"{PREFIX}/camera_info", info())]
    for index, stamp in enumerate(IMAGE_STAMPS):
        # Rows with padding: rosbags' own reader would shear such an image.
        messages.append((stamp, f"{PREFIX}/image_raw", image(stamp, rgb(index), "rgb8", 4)))
    for stamp in DEPTH_STAMPS:
        millimetres = np.nan_to_num(truth() * 1000).astype(np.uint16)
        messages.append((stamp, "/lidar/depth", image(stamp, millimetres, "16UC1")))
        estimate = 1.1 * truth()
        estimate[-3:] = np.inf
        messages.append((stamp, "/ppd/depth", image(stamp, estimate, "32FC1")))
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {
            (topic, message.__msgtype__): writer.add_connection(
                topic, message.__msgtype__, typestore=STORE
            )
            for topic, message in {topic: one for _, topic, one in messages}.items()
        }
        for stamp, topic, message in sorted(messages, key=lambda one: one[0]):
            kind = message.__msgtype__
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic, kind], (stamp + 5) * 10**6, data)
    return path


def opened(path: Path, **options: Any) -> BagSet:
    return open_bag(path, f"{PREFIX}/image_raw", "/lidar/depth", **options)


def test_a_depth_image_comes_with_its_image_and_camera(recording: Path):
    bag = opened(recording, estimate_topic="/ppd/depth")
    assert len(bag) == 4
    assert bag.names() == ["1.000000000", "1.033000000", "1.066000000", "1.300000000"]
    for index in range(3):
        sample = bag[index]
        np.testing.assert_array_equal(sample.image, rgb(index))
        np.testing.assert_allclose(sample.depth, truth(), rtol=1e-6)
        np.testing.assert_array_equal(sample.valid_mask, np.isfinite(truth()))
        assert sample.intrinsics is not None and sample.intrinsics.fx == 30.0
        assert sample.sensor_depth is not None
        assert np.isnan(sample.sensor_depth[-3:]).all()
        assert sample.sensor_depth[10, 0] == pytest.approx(3.3)


def test_how_frames_were_paired_is_said(recording: Path):
    assert opened(recording).notes == [
        f"Paired with {PREFIX}/image_raw: 2 by equal stamps, 1 by the nearest within 0.02 s, "
        "1 without one."
    ]


def test_a_depth_image_without_image_is_told_and_not_left_out(recording: Path):
    bag = opened(recording, tolerance_s=0.0)
    for index in (2, 3):
        with pytest.raises(SampleError, match=rf"no image of {PREFIX}/image_raw belongs to it"):
            bag[index]


def test_the_command_measures_a_model_and_a_topic_on_a_recording(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("scipy", reason="measures of clouds need scipy")
    topics = ["--image", f"{PREFIX}/image_raw", "--depth", "/lidar/depth"]
    topics += ["--estimate", "/ppd/depth", "--protocol", "metric", "scale"]
    output = tmp_path / "out"
    words = ["eval", "--bag", str(recording), *topics, "-o", str(output)]
    assert main(words) == 1  # for the depth image that no image belongs to
    shown = capsys.readouterr().out
    metric, scale = (line.split() for line in shown.splitlines()[1:3])
    assert metric[0] == scale[0] == "/ppd/depth"
    assert "3 of 4 *" in shown
    page = (output / "report.html").read_text()
    assert "2 by equal stamps, 1 by the nearest within 0.02 s, 1 without one" in page
    rows = json.loads((output / "report.json").read_text())["rows"]
    assert rows[0]["means"]["absrel"] == pytest.approx(0.1, rel=1e-4)
    assert rows[1]["means"]["absrel"] == pytest.approx(0, abs=1e-6)
    known = np.isfinite(truth())
    assert rows[0]["means"]["coverage"] == pytest.approx(known[:-3].sum() / known.sum())


def test_a_topic_that_was_not_recorded_names_those_that_were(recording: Path):
    with pytest.raises(ValueError, match=r"has no topic /depth; it has /camera/color/camera_info"):
        open_bag(recording, f"{PREFIX}/image_raw", "/depth")
    with pytest.raises(ValueError, match="has no topic /info"):
        opened(recording, info_topic="/info")


def test_what_is_no_recording_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="does not exist"):
        opened(tmp_path / "none")
    (tmp_path / "empty.mcap").write_bytes(b"")
    (tmp_path / "noise.mcap").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "noise.bag").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "folder").mkdir()
    for name in ("empty.mcap", "noise.mcap", "noise.bag", "folder"):
        with pytest.raises(ValueError, match="cannot be read"):
            opened(tmp_path / name)


def test_a_damaged_recording_is_measured_as_far_as_it_goes(recording: Path):
    (path,) = (one for one in recording.iterdir() if one.suffix != ".yaml")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    bag = opened(recording)
    assert 0 < len(bag) <= len(DEPTH_STAMPS)
    np.testing.assert_array_equal(bag[0].image, rgb(0))
    assert any(note.startswith("Damaged: ") for note in bag.notes)


def test_recordings_of_ros_1_are_read(tmp_path: Path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](1, 0)
    head = types["std_msgs/msg/Header"](0, stamp, "camera")
    kind = "sensor_msgs/msg/Image"
    millimetres = np.nan_to_num(truth() * 1000).astype(np.uint16)
    pictures = {
        f"{PREFIX}/image_raw": ("bgr8", 3 * WIDTH, rgb(3)[..., ::-1]),
        "/lidar/depth": ("16UC1", 2 * WIDTH, millimetres),
    }
    path = tmp_path / "run.bag"
    with Writer1(path) as writer:
        for topic, (encoding, step, pixels) in pictures.items():
            connection = writer.add_connection(topic, kind, typestore=store)
            data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
            message = types[kind](head, HEIGHT, WIDTH, encoding, 0, step, data)
            writer.write(connection, 10**9, store.serialize_ros1(message, kind))
    bag = opened(path)
    np.testing.assert_array_equal(bag[0].image, rgb(3))
    np.testing.assert_allclose(bag[0].depth, truth(), rtol=1e-6)
    assert bag[0].intrinsics is None
    image = f"{PREFIX}/image_raw"
    assert bag.notes[-1] == f"No calibration belongs to {image}: no clouds are measured."


def test_stamps_are_paired_with_equal_ones_else_the_nearest():
    found = pair([10, 20, 30, 99], [29, 12, 20, 8], tolerance_s=3e-9)
    # 10 is as far from 8 as from 12: the earlier one is taken.
    assert list(found.indices) == [3, 2, 0, None]
    assert (found.exact, found.nearest, found.missing) == (1, 2, 1)
    assert list(pair([10, 20], [20], 0.0).indices) == [None, 0]
    assert list(pair([1], [], 1.0).indices) == [None]
    for tolerance_s in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="tolerance must be >= 0 s"):
            pair([1], [1], tolerance_s)


def test_compressed_images_and_depth_are_read():
    done, jpeg = cv2.imencode(".png", rgb(2)[..., ::-1])
    picture = SimpleNamespace(format="png", data=jpeg)
    np.testing.assert_array_equal(message_to_rgb(picture), rgb(2))
    millimetres = np.nan_to_num(truth() * 1000).astype(np.uint16)
    done, png = cv2.imencode(".png", millimetres)
    data = np.concatenate([np.zeros(12, np.uint8), png.reshape(-1)])
    depth = SimpleNamespace(format="16UC1; compressedDepth png", data=data)
    np.testing.assert_allclose(message_to_depth(depth), truth(), rtol=1e-6)
    assert done
    with pytest.raises(ValueError, match="compressed depth of 32FC1 must be inverse depth"):
        message_to_depth(SimpleNamespace(format="32FC1; compressedDepth", data=png))
    with pytest.raises(ValueError, match="must be a JPEG or PNG, got 0 bytes"):
        message_to_rgb(SimpleNamespace(format="jpeg", data=np.zeros(0, np.uint8)))


def broken(**changes: Any) -> SimpleNamespace:
    whole = image(0, truth(), "32FC1")
    names = ("height", "width", "encoding", "is_bigendian", "step", "data")
    return SimpleNamespace(**{**{name: getattr(whole, name) for name in names}, **changes})


@pytest.mark.parametrize(
    ("read", "changes", "message"),
    [
        (message_to_depth, {"encoding": "rgb8"}, "must be 32FC1 or 16UC1 or mono16, got 'rgb8'"),
        (message_to_depth, {"step": 48}, "image step must be >= 128 bytes .*, got 48"),
        (message_to_depth, {"data": np.zeros(7, np.uint8)}, "must be 3072 bytes .*, got 7"),
        (message_to_rgb, {"encoding": "purple"}, "image encoding must be one of .*, got 'purple'"),
        (message_to_rgb, {"encoding": "rgba16"}, "image step must be >= 256 bytes .*, got 128"),
        (
            message_to_rgb,
            {"encoding": "8UC4", "height": 0},
            "image size must be >= 1 x 1, got 32 x 0",
        ),
    ],
)
def test_a_message_that_cannot_be_read_says_why(
    read: Callable[[Any], np.ndarray], changes: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        read(broken(**changes))


def test_the_other_byte_order_is_read():
    swapped = broken(is_bigendian=1, data=truth().byteswap().view(np.uint8).reshape(-1))
    np.testing.assert_array_equal(message_to_depth(swapped), truth())


def test_floats_are_kept_as_they_came_where_that_is_asked():
    values = np.array([[np.nan, np.inf, -np.inf], [0.0, -0.25, 1.5]], np.float32)
    padded = np.pad(values.view(np.uint8), ((0, 0), (0, 4)))
    given = broken(height=2, width=3, step=16, data=padded.reshape(-1))
    np.testing.assert_array_equal(message_to_depth(given, keeps_floats=True), values)
    positive = np.where(values == 1.5, values, np.nan)
    np.testing.assert_array_equal(message_to_depth(given), positive)


def test_a_calibration_that_does_not_say_the_camera_gives_none():
    assert message_to_intrinsics(info(), WIDTH, HEIGHT) is not None
    half = message_to_intrinsics(info(2 * WIDTH, 2 * HEIGHT, 60.0), WIDTH, HEIGHT)
    assert half is not None and half.fx == 30.0
    assert message_to_intrinsics(info(focal_px=0.0), WIDTH, HEIGHT) is None
    assert message_to_intrinsics(info(HEIGHT, WIDTH), WIDTH, HEIGHT) is None
    binned = info()
    binned.binning_x = binned.binning_y = 2
    half = message_to_intrinsics(binned, WIDTH // 2, HEIGHT // 2)
    assert half is not None and half.fx == 15.0
