"""Miniatures of MoGe's layout, of a folder of one's own, and of simulated shards."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ppd_core import Intrinsics
from ppd_core.data.eval_sets import SampleError, open_eval_set
from ppd_core.data.moge_eval import read_log_png
from ppd_core.data.shards import DepthSample, shard_name, write_shard
from ppd_core.data.urbansyn import read_exr
from ppd_core.image_files import write_depth_png16

# MoGe


def write_log_png(path, values: np.ndarray, **fields: object) -> None:
    text = PngInfo()
    for name, value in fields.items():
        text.add_text(name, str(value))
    Image.fromarray(values.astype(np.uint16)).save(path, pnginfo=text)


@pytest.fixture
def moge_root(tmp_path, write_red):
    root = tmp_path / "NYUv2"
    for name in ("bathroom/0001", "office/0002"):
        write_red(root / name / "image.jpg", 40, 60)
        values = np.full((40, 60), 1)
        values[0, :4] = (0, 65535, 65534, 32767.5)
        write_log_png(root / name / "depth.png", values, near=0.5, far=800.0)
        matrix = [[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]]
        (root / name / "meta.json").write_text(json.dumps({"intrinsics": matrix}))
    (root / ".index.txt").write_text("office/0002\nbathroom/0001\n")
    return root


def test_moge_depth_is_even_in_log_from_near_to_far(tmp_path):
    path = tmp_path / "depth.png"
    write_log_png(path, np.array([[0, 65535, 1, 65534, 1 + 65533 // 2]]), near=0.5, far=50.0)
    found = read_log_png(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[np.nan, np.inf, 0.5, 50, 5]], rtol=1e-4)
    write_log_png(path, np.array([[1, 65534]]), near=0.5, far=50.0, unit=2)
    np.testing.assert_allclose(read_log_png(path), [[1, 100]], rtol=1e-6)
    write_log_png(path, np.array([[1]]), near=0.5)
    with pytest.raises(ValueError, match=r"depth.png must have the text fields near and far"):
        read_log_png(path)
    write_log_png(path, np.array([[1]]), near=2, far=1)
    with pytest.raises(ValueError, match=r"with 0 < near < far, got \(1, 1\), 2.0 and 1.0"):
        read_log_png(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(ValueError, match=r"cannot read .*depth.png"):
        read_log_png(path)


def test_moge_takes_the_index_and_the_normalised_camera(moge_root, assert_red):
    data = open_eval_set("moge", moge_root)
    assert list(data.names()) == ["office/0002", "bathroom/0001"]
    assert data.split == "NYUv2, as MoGe lists it"
    sample = data[0]
    assert_red(sample.image, tolerance=3)
    np.testing.assert_allclose(sample.depth[0, :5], [np.nan, np.nan, 800, 20, 0.5], rtol=1e-3)
    # The 1 % quantile is 0.5 m: 800 m is more than a thousand times that.
    assert sample.valid_mask[0, :5].tolist() == [False, False, False, True, True]
    assert sample.intrinsics == Intrinsics(60, 40, 54.0, 48.0, 29.5, 19.5)


def test_moge_names_what_is_missing_or_broken(moge_root):
    (moge_root / "office/0002/meta.json").write_text("{}")
    with pytest.raises(SampleError, match=r"meta.json must give intrinsics, a 3 x 3 matrix"):
        open_eval_set("moge", moge_root)[0]
    (moge_root / "office/0002/meta.json").unlink()
    with pytest.raises(ValueError, match=r"no file .*office/0002/meta.json; expected ROOT/.index"):
        open_eval_set("moge", moge_root)


# A folder of one's own


@pytest.fixture
def own_root(tmp_path, write_red):
    (tmp_path / "depth").mkdir()
    for name in "abcd":
        write_red(tmp_path / f"rgb/{name}.png", 6, 8)
    depth = np.full((6, 8), 1.5, np.float32)
    depth[0, :3] = (0, np.nan, np.inf)
    write_depth_png16(tmp_path / "depth/a.png", depth, is_metric=True)
    np.save(tmp_path / "depth/b.npy", depth)
    np.savez(tmp_path / "depth/c.npz", depth=depth)
    with pytest.raises(ValueError):
        read_exr(tmp_path / "none.exr")  # the first use of the format must be the reader's
    assert cv2.imwrite(str(tmp_path / "depth/d.exr"), depth)
    (tmp_path / "depth/notes.txt").write_text("not a depth")
    return tmp_path


def test_a_folder_of_pairs_takes_every_kind_of_depth(own_root, assert_red):
    data = open_eval_set("folder", own_root)
    assert list(data.names()) == ["a", "b", "c", "d"]
    for index in range(4):
        sample = data[index]
        assert_red(sample.image)
        np.testing.assert_allclose(sample.depth[0, :4], [np.nan, np.nan, np.nan, 1.5])
        assert sample.valid_mask.sum() == 45
        assert sample.intrinsics is None
        assert sample.sensor_depth is None


def test_a_folder_may_have_a_camera_and_a_sensors_depth(own_root):
    (own_root / "camera.yaml").write_text(
        "image_width: 8\nimage_height: 6\ndistortion_model: plumb_bob\n"
        "camera_matrix: {rows: 3, cols: 3, data: [9, 0, 3.5, 0, 9, 2.5, 0, 0, 1]}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n"
    )
    (own_root / "sensor_depth").mkdir()
    sensor = np.full((6, 8), 1.6, np.float32)
    sensor[0, 0] = 0
    np.save(own_root / "sensor_depth/b.npy", sensor)
    data = open_eval_set("folder", own_root)
    assert data[0].intrinsics.fx == 9
    assert data[0].sensor_depth is None
    assert np.isnan(data[1].sensor_depth[0, 0])
    assert data[1].sensor_depth[1, 1] == np.float32(1.6)


def test_a_folder_names_the_image_without_depth_and_two_of_one_name(own_root, write_red):
    np.savez(own_root / "depth/c.npz", depth=np.ones((6, 8)), weight=np.ones((6, 8)))
    with pytest.raises(SampleError, match=r"c.npz must hold one \(H, W\) array, got"):
        open_eval_set("folder", own_root)[2]
    (own_root / "depth/c.npz").unlink()
    with pytest.raises(ValueError, match=r"no file .*depth/c.png; expected ROOT/image/NAME.jpg"):
        open_eval_set("folder", own_root)
    write_red(own_root / "rgb/a.jpg", 6, 8)
    with pytest.raises(ValueError, match=r"a.jpg and .*a.png have one name"):
        open_eval_set("folder", own_root)


# Simulated shards


def simulated(key: str) -> DepthSample:
    depth = np.full((6, 8), 2.0, np.float32)
    depth[0, 0] = np.inf
    sensor = depth.copy()
    sensor[1, 1] = np.nan
    camera = {"width": 8, "height": 6, "fx": 9.0, "fy": 9.0, "cx": 3.5, "cy": 2.5, "seed": 4}
    image = np.full((6, 8, 3), len(key), np.uint8)
    return DepthSample(key, image, depth, sensor, camera)


@pytest.fixture
def simulated_root(tmp_path):
    pytest.importorskip("webdataset", reason="pip install ppd_ros[sim]")
    write_shard(tmp_path / shard_name(0), [simulated("1"), simulated("22")])
    write_shard(tmp_path / shard_name(1), [simulated("333")])
    (tmp_path / "dataset.json").write_text('{"is_held_out": true}')
    return tmp_path


def test_simulated_samples_are_read_from_their_place(simulated_root):
    data = open_eval_set("simulated", simulated_root)
    assert list(data.names()) == ["1", "22", "333"]
    assert data.split == "held-out scenes"
    for index in (2, 0, 1):
        sample = data[index]
        assert (sample.image == index + 1).all()
        assert np.isnan(sample.depth[0, 0])
        assert sample.valid_mask.sum() == 47
        assert np.isnan(sample.sensor_depth[1, 1])
        assert sample.sensor_depth[2, 2] == 2
        assert sample.intrinsics == Intrinsics(8, 6, 9.0, 9.0, 3.5, 2.5)


def test_simulated_scenes_say_whether_training_may_have_seen_them(simulated_root):
    (simulated_root / "dataset.json").write_text('{"is_held_out": false}')
    assert "training may have seen" in open_eval_set("simulated", simulated_root).split
    (simulated_root / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot read .*dataset.json"):
        open_eval_set("simulated", simulated_root)
    (simulated_root / "dataset.json").unlink()
    assert "unknown" in open_eval_set("simulated", simulated_root).split


def test_a_broken_shard_is_named(simulated_root):
    path = simulated_root / shard_name(1)
    path.write_bytes(b"not a tar file" * 100)
    with pytest.raises(ValueError, match=r"cannot read shard .*shard-000001.tar"):
        open_eval_set("simulated", simulated_root)
