"""Miniatures of KITTI, ETH3D and DIODE, in their own files and formats."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ppd_core import Intrinsics
from ppd_core.data.diode import is_steep
from ppd_core.data.eval_sets import SampleError, open_eval_set

DRIVE = "2011_09_26_drive_0002_sync"
NUMBERS = ("0000000069", "0000000054", "0000000000")
KITTI_SIZE = (375, 1242)


@pytest.fixture
def kitti_root(tmp_path, write_red, write_png16):
    units = np.zeros(KITTI_SIZE)
    units[200, 600:604] = (256, 640, 80 * 256, 79 * 256)
    units[200, 604] = 20  # 78 mm
    units[100, 600] = 2560
    for number in NUMBERS:
        write_red(tmp_path / "2011_09_26" / DRIVE / f"image_02/data/{number}.png", *KITTI_SIZE)
    for number, part in zip(NUMBERS[:2], ("train", "val"), strict=True):
        below = f"{DRIVE}/proj_depth/groundtruth/image_02/{number}.png"
        write_png16(tmp_path / "data_depth_annotated" / part / below, units)
    (tmp_path / "2011_09_26/calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\n"
        "P_rect_02: 7.2e+02 0.0 6.0e+02 4.5e+01 0.0 7.1e+02 1.7e+02 2.2e-01 0.0 0.0 1.0 3e-03\n"
    )
    lines = [
        f"2011_09_26/{DRIVE}/image_02/data/{number}.png "
        + ("None" if index == 2 else f"{DRIVE}/proj_depth/groundtruth/image_02/{number}.png")
        + " 721.5377"
        for index, number in enumerate(NUMBERS)
    ]
    (tmp_path / "eigen_test_files_with_gt.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_kitti_depth_is_in_parts_of_256_and_needs_annotation(kitti_root, assert_red):
    data = open_eval_set("kitti", kitti_root)
    assert list(data.names()) == [f"{DRIVE}/0000000069", f"{DRIVE}/0000000054"]
    sample = data[0]
    assert_red(sample.image)
    np.testing.assert_array_equal(sample.depth[200, 599:604], [np.nan, 1, 2.5, 80, 79])
    assert sample.valid_mask[200, 599:605].tolist() == [False, True, True, False, True, True]
    assert sample.intrinsics == Intrinsics(1242, 375, 720.0, 710.0, 600.0, 170.0)


def test_kitti_counts_gargs_crop(kitti_root, write_png16):
    path = kitti_root / f"data_depth_annotated/train/{DRIVE}/proj_depth/groundtruth/image_02"
    write_png16(path / f"{NUMBERS[0]}.png", np.full(KITTI_SIZE, 2560))
    mask = open_eval_set("kitti", kitti_root)[0].valid_mask
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    # 0.40810811 and 0.99189189 of 375 rows, 0.03594771 and 0.96405229 of 1242 columns.
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (153, 370, 44, 1196)
    assert mask.sum() == 218 * 1153


def test_kitti_as_ppd_measures_is_the_benchmarks_crop(kitti_root, write_png16):
    path = kitti_root / f"data_depth_annotated/train/{DRIVE}/proj_depth/groundtruth/image_02"
    units = np.full(KITTI_SIZE, 2560)
    units[23 + 150, 13 + 600 : 13 + 602] = (20, 30)  # 78 and 117 mm
    write_png16(path / f"{NUMBERS[0]}.png", units)
    sample = open_eval_set("kitti-ppd", kitti_root)[0]
    assert sample.image.shape == (352, 1216, 3)
    # The lowest 352 of 375 rows, and 13 columns off either side.
    assert sample.depth[150, 600] == 20 / 256
    assert sample.valid_mask[150, 599:602].tolist() == [True, False, True]
    assert sample.intrinsics == Intrinsics(1216, 352, 720.0, 710.0, 587.0, 147.0)
    rows = sample.valid_mask.any(axis=1).nonzero()[0]
    columns = sample.valid_mask.any(axis=0).nonzero()[0]
    # 0.3324324 and 0.91351351 of 352 rows, 0.0359477 and 0.96405229 of 1216 columns.
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (117, 320, 43, 1171)


def test_kitti_takes_the_other_form_of_the_list(kitti_root):
    expected = list(open_eval_set("kitti", kitti_root).names())
    (kitti_root / "eigen_test_files_with_gt.txt").unlink()
    listed = kitti_root / "test_files.txt"
    listed.write_text("".join(f"2011_09_26/{DRIVE} {number} l\n" for number in NUMBERS))
    assert list(open_eval_set("kitti", kitti_root).names()) == expected
    listed.write_text(f"2011_09_26/{DRIVE} {NUMBERS[0]} r\n")
    with pytest.raises(ValueError, match="must list images of the left camera"):
        open_eval_set("kitti", kitti_root)
    listed.write_text("a photograph\n")
    with pytest.raises(ValueError, match="must list images, or drives and numbers, got 'a photo"):
        open_eval_set("kitti", kitti_root)


def test_kitti_names_what_is_missing(kitti_root):
    (kitti_root / "2011_09_26" / DRIVE / f"image_02/data/{NUMBERS[2]}.png").unlink()
    with pytest.raises(ValueError, match=rf"no file .*{NUMBERS[2]}.png; expected ROOT/2011_09_26"):
        open_eval_set("kitti", kitti_root)
    calibration = kitti_root / "2011_09_26/calib_cam_to_cam.txt"
    listed = kitti_root / "eigen_test_files_with_gt.txt"
    listed.write_text(listed.read_text().splitlines()[0])
    calibration.write_text("S_02: 1392 512\n")
    with pytest.raises(SampleError, match="must have a line P_rect_02 of 12 numbers"):
        open_eval_set("kitti", kitti_root)[0]
    calibration.unlink()
    assert open_eval_set("kitti", kitti_root)[0].intrinsics is None
    (kitti_root / "data_depth_annotated").rename(kitti_root / "depth")
    with pytest.raises(ValueError, match="no annotated depth in"):
        open_eval_set("kitti", kitti_root)


# ETH3D


@pytest.fixture
def eth3d_root(tmp_path, write_red):
    depth = np.full((60, 90), 3.0, "<f4")
    depth[0, :3] = (np.inf, 150.0, 0.005)
    for scene in ("courtyard", "office"):
        folder = tmp_path / scene
        for name in ("DSC_0219", "DSC_0220"):
            write_red(folder / f"images/dslr_images/{name}.JPG", 60, 90)
            path = folder / f"ground_truth_depth/dslr_images/{name}.JPG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(depth.tobytes())
    calibration = tmp_path / "office/dslr_calibration_jpg"
    calibration.mkdir()
    (calibration / "cameras.txt").write_text(
        "# Camera list with one line of data per camera:\n"
        "0 THIN_PRISM_FISHEYE 90 60 50.0 51.0 45.0 30.0 0.2 0.1 0 0 0.01 0.02 0 0\n"
        "1 THIN_PRISM_FISHEYE 90 60 70.0 71.0 44.5 29.5 0.2 0.1 0 0 0.01 0.02 0 0\n"
    )
    (calibration / "images.txt").write_text(
        "# Image list with two lines of data per image:\n"
        "7 1 0 0 0 0.1 0.2 0.3 1 dslr_images/DSC_0220.JPG\n"
        "12.5 30.1 -1 40.0 2.0 3\n"
        "8 1 0 0 0 0.1 0.2 0.3 0 dslr_images/DSC_0219.JPG\n"
        "\n"
    )
    return tmp_path


def test_eth3d_depth_is_raw_floats_behind_a_jpegs_name(eth3d_root, assert_red):
    data = open_eval_set("eth3d", eth3d_root)
    assert list(data.names()) == [
        "courtyard/DSC_0219",
        "courtyard/DSC_0220",
        "office/DSC_0219",
        "office/DSC_0220",
    ]
    sample = data[3]
    assert_red(sample.image, tolerance=3)
    np.testing.assert_allclose(sample.depth[0, :4], [np.nan, 150, 0.005, 3])
    assert sample.valid_mask[0, :4].tolist() == [False, True, True, True]
    # COLMAP's first pixel has its centre at (0.5, 0.5).
    assert sample.intrinsics == Intrinsics(90, 60, 70.0, 71.0, 44.0, 29.0)
    assert data[2].intrinsics.fx == 50
    assert data[0].intrinsics is None


def test_eth3d_as_ppd_measures_is_2048_x_1360(eth3d_root):
    sample = open_eval_set("eth3d-ppd", eth3d_root)[3]
    assert sample.image.shape == (1360, 2048, 3)
    assert sample.intrinsics.width == 2048
    assert sample.intrinsics.fx == pytest.approx(70 * 2048 / 90)
    assert set(np.unique(sample.depth[np.isfinite(sample.depth)])) == {
        np.float32(0.005),
        np.float32(3),
        np.float32(150),
    }
    assert not sample.valid_mask[sample.depth == np.float32(0.005)].any()


def test_eth3d_names_what_is_missing_or_of_another_size(eth3d_root):
    path = eth3d_root / "office/ground_truth_depth/dslr_images/DSC_0220.JPG"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SampleError, match="must hold 90 x 60 floats of 4 bytes, got 21596 bytes"):
        open_eval_set("eth3d", eth3d_root)[3]
    path.unlink()
    with pytest.raises(ValueError, match=r"no file .*ground_truth_depth/dslr_images/DSC_0220.JPG"):
        open_eval_set("eth3d", eth3d_root)
    (eth3d_root / "office/dslr_calibration_jpg/images.txt").write_text("# none\n")
    with pytest.raises(SampleError, match=r"must give the camera of DSC_0219.JPG"):
        path.write_bytes(np.ones(5400, "<f4").tobytes())
        open_eval_set("eth3d", eth3d_root)[2]


# DIODE


@pytest.fixture
def diode_root(tmp_path, write_red):
    depth = np.full((768, 1024, 1), 2.0, np.float32)
    depth[:, 512:] = 4.0
    depth[5, :4, 0] = (0.5, 0.6, 350, 351)
    mask = np.ones((768, 1024), np.float32)
    mask[10, 10] = 0
    for stem in (
        "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010",
        "outdoor/scene_00022/scan_00196/00022_00196_outdoor_350_020",
    ):
        write_red(tmp_path / f"val/{stem}.png", 768, 1024)
        np.save(tmp_path / f"val/{stem}_depth.npy", depth)
        np.save(tmp_path / f"val/{stem}_depth_mask.npy", mask)
    return tmp_path


def test_diode_counts_its_mask_and_the_limits(diode_root, assert_red):
    data = open_eval_set("diode", diode_root)
    names = ["00019_00183_indoors_000_010", "00022_00196_outdoor_350_020"]
    assert list(data.names()) == names
    assert data.split == "validation, 771 images"
    sample = data[0]
    assert_red(sample.image)
    assert sample.depth.shape == (768, 1024)
    assert sample.valid_mask[5, :5].tolist() == [False, True, True, False, True]
    assert sample.valid_mask[10, 9:12].tolist() == [True, False, True]
    assert sample.intrinsics == Intrinsics(1024, 768, 886.81, 927.06, 512.0, 384.0)
    # The folder "val" itself will do; and a part of it says that it is one.
    assert list(open_eval_set("diode", diode_root / "val").names()) == names
    (diode_root / "val/indoors").rename(diode_root / "indoors_elsewhere")
    assert open_eval_set("diode", diode_root).split == "validation, outdoor only"


def test_diode_as_ppd_measures_leaves_the_borders_out(diode_root):
    mask = open_eval_set("diode-ppd", diode_root)[0].valid_mask
    assert not mask[100, 511:513].any()
    assert mask[100, 510] and mask[100, 513]


def test_steep_is_what_scipys_sobel_says():
    ndimage = pytest.importorskip("scipy.ndimage", reason="pip install ppd_ros[eval]")
    depth = np.random.default_rng(0).random((20, 30), np.float32) * 0.15 + 1
    steepness = np.abs(ndimage.sobel(depth, 0)) + np.abs(ndimage.sobel(depth, 1))
    found = is_steep(depth)
    assert 0.1 < found.mean() < 0.9
    assert (found == (steepness > 0.3))[np.abs(steepness - 0.3) > 1e-5].all()


def test_diode_names_what_is_missing(diode_root):
    stem = "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010"
    Image.new("RGB", (100, 100)).save(diode_root / f"val/{stem}.png")
    with pytest.raises(SampleError, match=r"must have one size \(H, W\), got \(100, 100\)"):
        open_eval_set("diode", diode_root)[0]
    (diode_root / f"val/{stem}_depth_mask.npy").unlink()
    with pytest.raises(ValueError, match=r"no file .*000_010_depth_mask.npy"):
        open_eval_set("diode", diode_root)
