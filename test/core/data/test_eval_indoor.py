"""Miniatures of the indoor sets, in their own files and formats."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest

from ppd_core import Intrinsics
from ppd_core.data.eval_sets import SampleError, open_eval_set

# NYU Depth v2


def write_nyuv2(root, images: np.ndarray, depth: np.ndarray, test_numbers: list[int]) -> None:
    """As MATLAB 7.3 writes them: HDF5, the first index last."""
    h5py = pytest.importorskip("h5py", reason="pip install ppd_ros[eval]")
    io = pytest.importorskip("scipy.io", reason="pip install ppd_ros[eval]")
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as stream:
        stream["images"] = images.transpose(0, 3, 2, 1)
        stream["depths"] = np.ones_like(depth).transpose(0, 2, 1)
        stream["rawDepths"] = depth.transpose(0, 2, 1)
    train = np.setdiff1d(np.arange(1, len(images) + 1), test_numbers)
    splits = {
        "trainNdxs": train[:, None].astype(np.uint16),
        "testNdxs": np.array(test_numbers, np.uint16)[:, None],
    }
    io.savemat(root / "splits.mat", splits)


@pytest.fixture
def nyuv2_root(tmp_path):
    images = np.zeros((3, 480, 640, 3), np.uint8)
    images[2, 100, 200] = (1, 2, 3)
    depth = np.full((3, 480, 640), 2.0, np.float32)
    depth[2, 100, 200:204] = (3.5, 0, 10, 9.99)
    depth[2, 100, 204] = 0.05
    write_nyuv2(tmp_path, images, depth, [1, 3])
    return tmp_path


def test_nyuv2_takes_the_test_split_and_raw_depth(nyuv2_root):
    data = open_eval_set("nyuv2", nyuv2_root)
    assert list(data.names()) == ["0001", "0003"]
    sample = data[1]
    assert sample.image.shape == (480, 640, 3)
    assert sample.image[100, 200].tolist() == [1, 2, 3]
    np.testing.assert_allclose(sample.depth[100, 200:204], [3.5, np.nan, 10, 9.99])
    assert sample.valid_mask[100, 200:205].tolist() == [True, False, False, True, True]
    assert sample.intrinsics == Intrinsics(640, 480, 518.8579, 519.4696, 325.5824, 253.7362)


def test_nyuv2_counts_eigens_crop_and_ppd_everything(nyuv2_root):
    mask = open_eval_set("nyuv2", nyuv2_root)[0].valid_mask
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (45, 470, 41, 600)
    assert mask.sum() == 426 * 560
    data = open_eval_set("nyuv2-ppd", nyuv2_root)
    assert data[0].valid_mask.all()
    assert data[1].valid_mask[100, 200:205].tolist() == [True, False, False, True, False]


def test_nyuv2_refuses_files_that_are_others(nyuv2_root):
    import h5py
    from scipy import io

    io.savemat(nyuv2_root / "splits.mat", {"testNdxs": np.array([[4]])})
    with pytest.raises(ValueError, match=r"has 3 images, but .* names image 4"):
        open_eval_set("nyuv2", nyuv2_root)
    io.savemat(nyuv2_root / "splits.mat", {"trainNdxs": np.array([[1]])})
    with pytest.raises(ValueError, match=r"splits.mat must hold testNdxs"):
        open_eval_set("nyuv2", nyuv2_root)
    io.savemat(nyuv2_root / "splits.mat", {"testNdxs": np.array([[1]])})
    with h5py.File(nyuv2_root / "nyu_depth_v2_labeled.mat", "a") as stream:
        del stream["rawDepths"]
    with pytest.raises(ValueError, match="has no rawDepths, only depths, images"):
        open_eval_set("nyuv2", nyuv2_root)
    (nyuv2_root / "nyu_depth_v2_labeled.mat").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"cannot read .*labeled.mat"):
        open_eval_set("nyuv2", nyuv2_root)


@pytest.mark.parametrize("package", ["h5py", "scipy.io"])
def test_nyuv2_says_what_a_missing_package_means(nyuv2_root, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"needs .*: pip install ppd_ros\[eval\]"):
        open_eval_set("nyuv2", nyuv2_root)


# ScanNet


@pytest.fixture
def scannet_root(tmp_path, write_red, write_png16):
    millimetres = np.full((48, 64), 2500)
    millimetres[0, :3] = (0, 10_000, 9_999)
    for scene, numbers in (("scene0011_00", (0, 100)), ("scene0406_02", (20, 300))):
        for number in numbers:
            write_red(tmp_path / scene / f"color/{number}.jpg", 97, 130)
            write_png16(tmp_path / scene / f"depth/{number}.png", millimetres)
    matrix = np.eye(4)
    matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2] = 57.0, 58.0, 31.0, 24.0
    (tmp_path / "scene0406_02/intrinsic").mkdir()
    np.savetxt(tmp_path / "scene0406_02/intrinsic/intrinsic_depth.txt", matrix, fmt="%f")
    return tmp_path


def test_scannet_depth_is_millimetres_and_colour_takes_its_size(scannet_root, assert_red):
    data = open_eval_set("scannet", scannet_root)
    expected = ["scene0011_00/000000", "scene0011_00/000100"]
    assert list(data.names()) == [*expected, "scene0406_02/000020", "scene0406_02/000300"]
    assert "not the published list" in data.split
    sample = data[3]
    assert_red(sample.image, tolerance=3)
    assert sample.image.shape == (48, 64, 3)
    assert sample.depth[10, 10] == 2.5
    assert sample.valid_mask[0, :4].tolist() == [False, False, True, True]
    assert sample.intrinsics == Intrinsics(64, 48, 57.0, 58.0, 31.0, 24.0)
    assert data[0].intrinsics is None


def test_scannet_takes_the_list_in_its_order(scannet_root, write_red, write_png16):
    lines = [
        "scene0406_02/color/000300.jpg scene0406_02/depth/000300.png",
        "scene0011_00/color/000100.jpg scene0011_00/depth/000100.png",
    ]
    listed = scannet_root / "scannet_val_sampled_list_800_1.txt"
    listed.write_text("\n".join(lines) + "\n")
    # One folder has the list's own zeros, as the archive that goes with it.
    for folder, suffix in (("color", "jpg"), ("depth", "png")):
        path = scannet_root / f"scene0011_00/{folder}/100.{suffix}"
        path.rename(path.with_name(f"000100.{suffix}"))
    data = open_eval_set("scannet", scannet_root)
    assert list(data.names()) == ["scene0406_02/000300", "scene0011_00/000100"]
    assert data.split == "2 frames of scannet_val_sampled_list_800_1.txt"
    assert all(data[index].valid_mask.any() for index in range(2))
    (scannet_root / "scene0406_02/depth/300.png").unlink()
    with pytest.raises(ValueError, match=r"no file .*scene0406_02/depth/300.png"):
        open_eval_set("scannet", scannet_root)
    listed.write_text("scene0406_02\n")
    with pytest.raises(ValueError, match=r"must list SCENE/color/NAME.jpg, got 'scene0406_02'"):
        open_eval_set("scannet", scannet_root)


def test_scannet_refuses_a_broken_camera_file(scannet_root):
    (scannet_root / "scene0406_02/intrinsic/intrinsic_depth.txt").write_text("1 2 3\n")
    with pytest.raises(SampleError, match=r"intrinsic_depth.txt must hold a 4 x 4 matrix"):
        open_eval_set("scannet", scannet_root)[2]


# Hypersim: its reader is tested with the training sets; here is what evaluation adds.


def test_hypersim_measures_the_test_split_up_to_65_m(tmp_path, write_red):
    h5py = pytest.importorskip("h5py", reason="pip install ppd_ros[eval]")
    lens = np.diag([np.tan(np.pi / 6), np.tan(np.pi / 6) * 0.75, -1.0])
    with (tmp_path / "metadata_camera_parameters.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
        table.writerows([["scene_name", *names], ["ai_001_001", *lens.ravel()]])
    (tmp_path / "metadata_images_split_scene_v1.csv").write_text(
        "scene_name,camera_name,frame_id,split_partition_name\n"
        "ai_001_001,cam_00,0,test\nai_009_001,cam_00,0,train\n"
    )
    images = tmp_path / "ai_001_001/images"
    write_red(images / "scene_cam_00_final_preview/frame.0000.tonemap.jpg", 768, 1024)
    path = images / "scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5"
    path.parent.mkdir()
    distance = np.full((768, 1024), 4.0, np.float32)
    distance[383, 510:513] = (np.nan, 70.0, 60.0)
    with h5py.File(path, "w") as file:
        file["dataset"] = distance
    data = open_eval_set("hypersim-preview", tmp_path)
    assert list(data.names()) == ["ai_001_001/cam_00/0000"]
    sample = data[0]
    assert sample.valid_mask[383, 509:514].tolist() == [True, False, False, True, True]
    assert sample.intrinsics.fx == pytest.approx(886.81, abs=0.01)
    # The path along the ray, and what of it lies along the axis.
    assert sample.depth[0, 0] == pytest.approx(4 / np.hypot(1, np.hypot(511.5, 383.5) / 886.81))
