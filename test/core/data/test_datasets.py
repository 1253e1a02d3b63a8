"""Tiny copies of each data set, in its own folders and formats, with depths that are known."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppd_core.data.datasets import DATASETS, DepthLimits, limit_depth, open_dataset
from ppd_core.data.frames import read_npy
from ppd_core.data.hypersim import pixel_to_ray, planar_depth
from ppd_core.data.hypersim_color import tonemap
from ppd_core.data.shards import encode_sample
from ppd_core.data.unrealstereo4k import depth_from_disparity
from ppd_core.data.urbansyn import read_exr
from ppd_core.data.vkitti2 import ALL_VARIATIONS, CAMERAS, SCENES, TRAIN_VARIATIONS

RED = (200, 30, 10)  # RGB
H5PY_REASON = "Hypersim's files need h5py"
NOMINAL_LENS = np.diag([np.tan(np.pi / 6), np.tan(np.pi / 6) * 0.75, -1.0])


def red_image(path: Path, height: int, width: int, channels: int = 3) -> None:
    image = np.full((height, width, channels), 255, np.uint8)
    image[..., :3] = RED[::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def assert_red(image: np.ndarray, tolerance: int = 0) -> None:
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - RED).max() <= tolerance


# Virtual KITTI 2


@pytest.fixture(scope="module")
def vkitti2_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("vkitti2")
    centimetres = np.full((375, 1242), 1234, np.uint16)
    centimetres[0, :5] = (65535, 0, 9000, 25000, 5)
    red_image(root / "rgb.jpg", 375, 1242)
    assert cv2.imwrite(str(root / "depth.png"), centimetres)
    for scene in SCENES:
        for variation in ALL_VARIATIONS:
            for camera in CAMERAS:
                frames = root / scene / variation / "frames"
                for kind, suffix in (("rgb", "jpg"), ("depth", "png")):
                    folder = frames / kind / camera
                    folder.mkdir(parents=True)
                    for number in range(2):
                        link = folder / f"{kind}_{number:05d}.{suffix}"
                        link.hardlink_to(root / f"{kind}.{suffix}")
    return root


def test_vkitti2_depth_is_centimetres_along_z(vkitti2_root):
    sample = open_dataset("vkitti2", vkitti2_root, use_paper_limits=False)[0]
    assert_red(sample.image, tolerance=3)
    assert sample.depth.shape == (375, 1242)
    assert sample.depth.dtype == np.float32
    assert sample.depth[100, 100] == np.float32(12.34)
    np.testing.assert_array_equal(
        sample.depth[0, :5], np.array([np.inf, np.nan, 90, 250, 0.05], np.float32)
    )


def test_vkitti2_limits_are_the_papers(vkitti2_root):
    sample = open_dataset("vkitti2", vkitti2_root)[0]
    np.testing.assert_array_equal(sample.depth[0, :5], [np.inf, np.nan, np.nan, np.inf, np.nan])
    assert sample.depth[100, 100] == np.float32(12.34)


def test_vkitti2_camera_is_that_of_its_intrinsics_file(vkitti2_root):
    sample = open_dataset("vkitti2", vkitti2_root)[-1]
    expected = dict(width=1242, height=375, fx=725.0087, fy=725.0087, cx=620.5, cy=187.0)
    assert sample.camera == expected
    assert sample.key == "vkitti2-Scene20-sunset-Camera_1-00001"
    assert sample.sensor_depth is None


def test_vkitti2_trains_on_the_papers_variations(vkitti2_root):
    train = open_dataset("vkitti2", vkitti2_root)
    everything = open_dataset("vkitti2", vkitti2_root, "all")
    assert len(train) == 5 * len(TRAIN_VARIATIONS) * 2 * 2
    assert len(everything) == 5 * 10 * 2 * 2


# TartanAir


@pytest.fixture
def tartanair_root(tmp_path):
    depth = np.full((480, 640), 3.5, np.float32)
    depth[0, :4] = (10000, 100, 0, np.nan)
    for flight in ("office/Easy/P000", "seasidetown/seasidetown/Hard/P001"):
        folder = tmp_path / flight
        for number in (0, 1):
            red_image(folder / f"image_left/{number:06d}_left.png", 480, 640)
            (folder / "depth_left").mkdir(exist_ok=True)
            np.save(folder / f"depth_left/{number:06d}_left_depth.npy", depth)
        write(folder / "pose_left.txt", "")
    return tmp_path


def test_tartanair_depth_is_metres(tartanair_root):
    samples = open_dataset("tartanair", tartanair_root, use_paper_limits=False)
    assert len(samples) == 4
    sample = samples[0]
    assert_red(sample.image)
    assert sample.depth.shape == (480, 640)
    assert sample.depth[1, 0] == 3.5
    np.testing.assert_array_equal(sample.depth[0, :4], [10000, 100, np.nan, np.nan])
    expected = dict(width=640, height=480, fx=320.0, fy=320.0, cx=319.5, cy=239.5)
    assert sample.camera == expected
    assert sample.key == "tartanair-office-Easy-P000-000000"


def test_tartanair_sky_is_infinite_within_the_papers_limits(tartanair_root):
    sample = open_dataset("tartanair", tartanair_root)[3]
    np.testing.assert_array_equal(sample.depth[0, :4], [np.inf, np.nan, np.nan, np.nan])
    assert sample.key == "tartanair-seasidetown-seasidetown-Hard-P001-000001"


def test_tartanair_refuses_an_image_of_another_size(tartanair_root):
    red_image(tartanair_root / "office/Easy/P000/image_left/000000_left.png", 640, 640)
    with pytest.raises(ValueError, match=r"got \(640, 640\), \(480, 640\) and \(480, 640\)"):
        open_dataset("tartanair", tartanair_root)[0]


# UnrealStereo4K

STEREO_SIZE = (54, 96)


@pytest.fixture
def stereo_root(tmp_path):
    height, width = STEREO_SIZE
    disparity = np.full(STEREO_SIZE, 4.0, np.float32)
    disparity[0, :4] = (0, np.nan, -1, 0.25)
    # The world's x is the camera's x turned by 30 degrees; the right camera is 0.2 m further.
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    for scene in range(9):
        folder = tmp_path / f"{scene:05d}"
        red_image(folder / "Image0/00000.png", height, width, channels=4)
        (folder / "Disp0").mkdir()
        np.save(folder / "Disp0/00000.npy", disparity)
        for camera, offset in ((0, 1.0), (1, 0.8)):
            pose = [cos, sin, 0, offset, 0, 0, -1, 2.0, -sin, cos, 0, 3.0]
            lines = ["48 0 48 0 48 27 0 0 1", " ".join(f"{value:.9f}" for value in pose)]
            write(folder / f"Extrinsics{camera}/00000.txt", "\n".join(lines) + "\n")
    return tmp_path


def test_unrealstereo4k_depth_is_focal_times_baseline_over_disparity(stereo_root):
    sample = open_dataset("unrealstereo4k", stereo_root, use_paper_limits=False)[0]
    assert_red(sample.image)
    assert sample.depth.dtype == np.float32
    assert sample.depth[1, 0] == pytest.approx(48 * 0.2 / 4)
    np.testing.assert_allclose(sample.depth[0, :4], [np.inf, np.nan, np.nan, 38.4], rtol=1e-6)
    expected = dict(width=96, height=54, fx=48.0, fy=48.0, cx=47.5, cy=26.5)
    assert sample.camera == expected


def test_unrealstereo4k_holds_out_its_last_scene(stereo_root):
    train = open_dataset("unrealstereo4k", stereo_root)
    test = open_dataset("unrealstereo4k", stereo_root, "test")
    assert [sample.key for sample in train] == [
        f"unrealstereo4k-{scene:05d}-00000" for scene in range(8)
    ]
    assert [sample.key for sample in test] == ["unrealstereo4k-00008-00000"]


def test_unrealstereo4k_refuses_a_broken_camera_file(stereo_root):
    path = stereo_root / "00000/Extrinsics1/00000.txt"
    path.write_text("1 2 3\n")
    with pytest.raises(ValueError, match=r"Extrinsics1/00000.txt must have a line of 9 numbers"):
        open_dataset("unrealstereo4k", stereo_root)[0]


def test_disparity_of_no_use_is_not_known():
    disparity = np.array([[np.inf, -np.inf, -1, np.nan, 0, 2]], np.float32)
    depth = depth_from_disparity(disparity, 10, 0.5)
    np.testing.assert_array_equal(depth, [[np.nan, np.nan, np.nan, np.nan, np.inf, 2.5]])


def test_disparity_and_depth_are_reciprocal():
    disparity = np.geomspace(0.5, 500, 12, dtype=np.float32).reshape(3, 4)
    depth = depth_from_disparity(disparity, 1920, 0.5)
    np.testing.assert_allclose(depth * disparity, 960, rtol=1e-6)


# UrbanSyn


@pytest.fixture
def urbansyn_root(tmp_path):
    read_exr_is_on(tmp_path)
    depth = np.full((32, 64), 12.5, np.float32)
    depth[0, :3] = (1e5, 150, 0)
    (tmp_path / "depth").mkdir()
    for number in (1, 2):
        red_image(tmp_path / f"rgb/rgb_{number:04d}.png", 32, 64)
        assert cv2.imwrite(str(tmp_path / f"depth/depth_{number:04d}.exr"), depth / 1e5)
    lens = {"focalLength_mm": 40, "sensorWidth_mm": 80, "sensorHeight_mm": 40}
    write(tmp_path / "camera_metadata.json", json.dumps({"parameters": [{"Camera": lens}]}))
    return tmp_path


def read_exr_is_on(folder: Path) -> None:
    """The first use of the format in a process decides; here it must be the reader's."""
    (folder / "none.exr").write_bytes(b"no such format")
    with pytest.raises(ValueError, match=r"cannot read .*none.exr"):
        read_exr(folder / "none.exr")


def test_urbansyn_depth_is_in_units_of_100_km(urbansyn_root):
    samples = open_dataset("urbansyn", urbansyn_root, use_paper_limits=False)
    assert [sample.key for sample in samples] == ["urbansyn-0001", "urbansyn-0002"]
    sample = samples[0]
    assert_red(sample.image)
    assert sample.depth.shape == (32, 64)
    assert sample.depth[1, 1] == pytest.approx(12.5)
    np.testing.assert_allclose(sample.depth[0, :3], [1e5, 150, np.nan], rtol=1e-6)
    expected = dict(width=64, height=32, fx=32.0, fy=32.0, cx=31.5, cy=15.5)
    assert sample.camera == expected


def test_urbansyn_sky_is_infinite_within_the_papers_limits(urbansyn_root):
    sample = open_dataset("urbansyn", urbansyn_root)[0]
    np.testing.assert_array_equal(sample.depth[0, :3], [np.inf, np.nan, np.nan])


def test_urbansyn_refuses_a_camera_file_without_a_lens(urbansyn_root):
    write(urbansyn_root / "camera_metadata.json", '{"parameters": []}')
    with pytest.raises(ValueError, match=r"camera_metadata.json must give focalLength_mm"):
        open_dataset("urbansyn", urbansyn_root)


# Hypersim


def write_hypersim(root: Path, lens: np.ndarray, distance: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py", reason=H5PY_REASON)
    columns = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    with (root / "metadata_camera_parameters.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["scene_name", *columns])
        table.writerow(["ai_001_001", *lens.ravel()])
    write(
        root / "metadata_images_split_scene_v1.csv",
        "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,"
        "split_partition_name\n"
        "ai_001_001,cam_00,0,True,,train\n"
        "ai_001_001,cam_00,7,False,CONTENT FLAGGED FOR REMOVAL,\n"
        "ai_001_001,cam_01,12,True,,train\n"
        "ai_002_001,cam_00,0,True,,train\n"
        "ai_003_001,cam_00,0,True,,val\n",
    )
    radiance = np.full((768, 1024, 3), 0.25, np.float16)
    for camera, number in (("cam_00", "0000"), ("cam_01", "0012")):
        images = root / "ai_001_001" / "images"
        red_image(images / f"scene_{camera}_final_preview/frame.{number}.tonemap.jpg", 768, 1024)
        for folder, kind, array in (
            ("geometry", "depth_meters", distance),
            ("final", "color", radiance),
        ):
            path = images / f"scene_{camera}_{folder}_hdf5/frame.{number}.{kind}.hdf5"
            path.parent.mkdir(parents=True)
            with h5py.File(path, "w") as stream:
                stream["dataset"] = array


def wall_distance(depth_m: float, focal_px: float, center: tuple[float, float]) -> np.ndarray:
    """Distances along the rays to a wall that faces a pinhole camera, in closed form."""
    rows, columns = np.mgrid[:768, :1024].astype(float)
    offset_px = np.hypot(columns - center[0], rows - center[1])
    return depth_m * np.hypot(1, offset_px / focal_px)


def test_hypersim_wall_that_faces_the_camera_has_one_depth(tmp_path):
    distance = wall_distance(3.0, 886.81, (511.5, 383.5)).astype(np.float32)
    assert distance.max() > 3.6  # the corner is a fifth further away
    distance[10, 10] = np.nan
    write_hypersim(tmp_path, NOMINAL_LENS, distance)
    samples = open_dataset("hypersim", tmp_path)
    assert [sample.key for sample in samples] == [
        "hypersim-ai_001_001-cam_00-0000",
        "hypersim-ai_001_001-cam_01-0012",
    ]
    sample = samples[0]
    assert np.isnan(sample.depth[10, 10])
    assert np.isnan(sample.depth).sum() == 1
    assert sample.depth.dtype == np.float32
    np.testing.assert_allclose(np.delete(sample.depth.ravel(), 10 * 1024 + 10), 3.0, rtol=1e-5)
    assert sample.camera["fx"] == pytest.approx(886.81, abs=0.01)
    assert sample.camera["fy"] == pytest.approx(886.81, abs=0.01)
    assert (sample.camera["cx"], sample.camera["cy"]) == pytest.approx((511.5, 383.5))


def test_hypersim_depth_of_a_tilted_lens_is_along_the_normal_of_its_image(tmp_path):
    # A camera of focal length 700 px, centre (500, 300), turned by 20 degrees about x.
    turn = np.deg2rad(20)
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    uv_to_pixel = np.array([[512, 0, 511.5], [0, -384, 383.5], [0, 0, 1]])
    pixel_to_camera = np.array([[1 / 700, 0, -500 / 700], [0, 1 / 700, -300 / 700], [0, 0, 1]])
    flip = np.diag([1.0, -1.0, -1.0])
    lens = 0.8 * flip @ rotation @ pixel_to_camera @ uv_to_pixel
    distance = wall_distance(2.0, 700, (500, 300)).astype(np.float32)
    write_hypersim(tmp_path, lens, distance)
    sample = open_dataset("hypersim", tmp_path)[0]
    np.testing.assert_allclose(sample.depth, 2.0, rtol=1e-5)
    camera = sample.camera
    assert [camera[name] for name in ("fx", "fy", "cx", "cy")] == pytest.approx(
        [700, 700, 500, 300]
    )


def test_hypersim_ray_through_the_centre_keeps_its_length():
    rays = pixel_to_ray(NOMINAL_LENS)
    distance = np.full((768, 1024), 5.0, np.float32)
    depth = planar_depth(distance, rays)
    assert depth[383:385, 511:513] == pytest.approx(5.0, rel=1e-6)
    assert depth.max() <= 5.0
    # The half angle of the horizontal field of view is 30 degrees.
    assert depth[383, 0] == pytest.approx(5 * np.cos(np.pi / 6), rel=1e-3)


def test_hypersim_colours_are_tone_mapped_or_the_preview(tmp_path):
    write_hypersim(tmp_path, NOMINAL_LENS, np.full((768, 1024), 4.0, np.float16))
    tone_mapped = open_dataset("hypersim", tmp_path)[0]
    preview = open_dataset("hypersim-preview", tmp_path)[0]
    assert (tone_mapped.image == round(0.8 * 255)).all()
    assert_red(preview.image, tolerance=3)
    np.testing.assert_array_equal(tone_mapped.depth, preview.depth)


def test_hypersim_depth_beyond_65_m_does_not_count(tmp_path):
    write_hypersim(tmp_path, NOMINAL_LENS, np.full((768, 1024), 80.0, np.float32))
    assert np.isnan(open_dataset("hypersim", tmp_path)[0].depth[383, 511])
    raw = open_dataset("hypersim", tmp_path, use_paper_limits=False)
    assert raw[0].depth[383, 511] == pytest.approx(80, rel=1e-5)


def test_hypersim_takes_the_split_from_its_table(tmp_path):
    write_hypersim(tmp_path, NOMINAL_LENS, np.ones((768, 1024), np.float16))
    with pytest.raises(ValueError, match=r"no folder .*ai_003_001; expected ROOT/ai_001_001/"):
        open_dataset("hypersim", tmp_path, "val")
    with pytest.raises(ValueError, match="has no image of the partition 'test'"):
        open_dataset("hypersim", tmp_path, "test")


@pytest.mark.parametrize(
    "missing",
    [
        "metadata_camera_parameters.csv",
        "metadata_images_split_scene_v1.csv",
        "ai_001_001/images/scene_cam_01_geometry_hdf5/frame.0012.depth_meters.hdf5",
        "ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5",
    ],
)
def test_hypersim_names_the_file_that_is_missing(tmp_path, missing):
    write_hypersim(tmp_path, NOMINAL_LENS, np.ones((768, 1024), np.float16))
    (tmp_path / missing).unlink()
    folder, _, name = missing.rpartition("/")
    # Where it was the only file, the message has a star for its number.
    pattern = name.replace("0012", "*").replace("0000", "*")
    with pytest.raises(ValueError) as caught:
        open_dataset("hypersim", tmp_path)
    assert f"no file {tmp_path / folder / pattern}; expected ROOT/ai_001_001/" in str(caught.value)


def test_hypersim_says_what_a_missing_h5py_means(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"need h5py: pip install ppd_ros\[data\]"):
        open_dataset("hypersim", tmp_path)


def test_tonemap_brings_the_brightness_percentile_to_its_place():
    radiance = np.zeros((10, 100, 3), np.float32)
    radiance[:] = np.linspace(0, 40, 1000).reshape(10, 100, 1)
    image = tonemap(radiance, np.ones((10, 100), bool))
    assert image.ravel()[3 * 899] == pytest.approx(0.8 * 255, abs=1)
    assert image.max() == round(255 * 0.8 * (1 / 0.9) ** (1 / 2.2))


def test_tonemap_ignores_pixels_without_geometry_and_broken_ones():
    radiance = np.full((4, 4, 3), 0.1, np.float32)
    radiance[0] = 1000
    radiance[1, 0], radiance[1, 1] = np.nan, np.inf
    has_geometry = np.ones((4, 4), bool)
    has_geometry[0] = False
    image = tonemap(radiance, has_geometry)
    assert (image[2:] == round(0.8 * 255)).all()
    assert (image[0] == 255).all()
    assert image[1, 0].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == [255, 255, 255]


def test_tonemap_of_a_dark_image_is_black():
    assert not tonemap(np.full((2, 2, 3), 1e-6, np.float32), np.ones((2, 2), bool)).any()


# All of them


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("vkitti2", "Scene01/15-deg-left/frames/rgb/Camera_0"),
        ("tartanair", "*/Easy/P000"),
        ("unrealstereo4k", "00000/Image0"),
        ("urbansyn", "camera_metadata.json"),
        ("hypersim", "metadata_camera_parameters.csv"),
        ("hypersim-preview", "metadata_camera_parameters.csv"),
    ],
)
def test_a_wrong_root_is_refused_at_once(tmp_path, name, first):
    if name.startswith("hypersim"):
        pytest.importorskip("h5py", reason=H5PY_REASON)
    with pytest.raises(ValueError) as caught:
        open_dataset(name, tmp_path)
    assert f"{tmp_path / first}; expected ROOT/" in str(caught.value)
    with pytest.raises(ValueError, match=r"no folder .*nowhere; expected ROOT/"):
        open_dataset(name, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "fixture", "missing"),
    [
        ("tartanair", "tartanair_root", "office/Easy/P000/depth_left/000001_left_depth.npy"),
        ("urbansyn", "urbansyn_root", "depth/depth_0002.exr"),
    ],
)
def test_an_image_without_depth_is_named(request, name, fixture, missing):
    root = request.getfixturevalue(fixture)
    (root / missing).unlink()
    with pytest.raises(ValueError) as caught:
        open_dataset(name, root)
    assert f"no file {root / missing}; expected ROOT/" in str(caught.value)


def test_hidden_files_are_not_frames(stereo_root):
    (stereo_root / "00000/Image0/._00000.png").write_bytes(b"")
    assert len(open_dataset("unrealstereo4k", stereo_root)) == 8


def test_unknown_names_and_splits_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of hypersim, .*, got 'nyu'"):
        open_dataset("nyu", tmp_path)
    with pytest.raises(ValueError, match="split of vkitti2 must be one of train, all, got 'val'"):
        open_dataset("vkitti2", tmp_path, "val")


@pytest.mark.parametrize("fixture", ["tartanair_root", "urbansyn_root", "stereo_root"])
def test_samples_can_be_sliced_sent_to_a_process_and_sharded(request, fixture):
    name = {"stereo_root": "unrealstereo4k"}.get(fixture, fixture.removesuffix("_root"))
    samples = open_dataset(name, request.getfixturevalue(fixture))
    part = pickle.loads(pickle.dumps(samples[1:2]))
    assert len(part) == 1
    assert part[0].key == samples[1].key
    assert encode_sample(part[0])["__key__"] == samples[1].key
    with pytest.raises(IndexError):
        samples[len(samples)]


def test_a_broken_file_is_named(tartanair_root):
    depth = tartanair_root / "office/Easy/P000/depth_left/000000_left_depth.npy"
    image = tartanair_root / "office/Easy/P000/image_left/000001_left.png"
    depth.write_bytes(b"\x93NUMPY")
    image.write_bytes(b"")
    samples = open_dataset("tartanair", tartanair_root)
    with pytest.raises(ValueError, match=r"cannot read .*000000_left_depth.npy"):
        samples[0]
    with pytest.raises(ValueError, match=r"cannot read image .*000001_left.png"):
        samples[1]


def test_an_array_that_is_no_image_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"a.npy must hold an \(H, W\) array, got \(5,\)"):
        read_npy(tmp_path / "a.npy")


def test_limits_keep_what_lies_strictly_between():
    depth = np.array([[0.1, 0.2, 79.9, 80, 200, 200.1, np.inf, np.nan]], np.float32)
    limited = limit_depth(depth, DepthLimits(np.float32(0.1), 80, 200))
    np.testing.assert_array_equal(
        limited,
        np.array([[np.nan, 0.2, 79.9, np.nan, np.nan, np.inf, np.inf, np.nan]], np.float32),
    )
    assert limited.dtype == np.float32
    assert np.isnan(limit_depth(depth, DepthLimits(0, 50))[0, 6])


@pytest.mark.parametrize("limits", [(-1, 5), (5, 5), (0, 80, 70), (float("nan"), 5)])
def test_limits_must_rise(limits):
    with pytest.raises(ValueError, match="depth limits must be"):
        DepthLimits(*limits)


def test_every_data_set_has_a_training_split():
    assert all("train" in info.splits for info in DATASETS.values())
