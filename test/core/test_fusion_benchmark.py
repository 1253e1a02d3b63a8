"""The benchmarks of sensor and model together: closed forms, and each once on a tiny scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy", reason="pip install ppd_ros[eval]")
pytest.importorskip("webdataset", reason="shards need webdataset")

from ppd_core import DepthPipeline, Intrinsics
from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig
from ppd_core.data.shards import DepthSample, shard_name, write_shard
from ppd_core.image_files import write_depth_png16
from ppd_core.sim.depth_sensor import DepthSensorConfig

WIDTH, HEIGHT = 64, 48
CAMERA = Intrinsics(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5)
NAN = np.nan


def a_scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box before a wall: image, truth, and a sensor that has a hole in the box's shadow."""
    truth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    truth[14:34, 20:44] = 1.2
    image = np.where(truth[..., None] < 1.5, 200, 60).astype(np.uint8).repeat(3, axis=2)
    sensor = truth.copy()
    sensor[14:34, 16:20] = NAN
    return image, truth, sensor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False),
        preprocess=PreprocessConfig(processing_area=32 * 32),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    DepthPipeline.from_config(config, device="cpu").save_pretrained(path)
    return path


def a_row(*depths: float) -> np.ndarray:
    return np.array([depths], np.float32)


def test_holes_take_the_nearest_depth_or_the_farther_of_both_sides(benchmark):
    fills = benchmark("simple_fills")
    row = a_row(1, NAN, NAN, 4)
    np.testing.assert_array_equal(fills.nearest(row), a_row(1, 1, 4, 4))
    np.testing.assert_array_equal(fills.far_side(row), a_row(1, 4, 4, 4))
    below = np.vstack([row, a_row(NAN, NAN, NAN, NAN)])
    np.testing.assert_array_equal(fills.far_side(below), a_row(1, 4, 4, 4).repeat(2, axis=0))


def test_both_pixels_of_a_border_are_taken_out(benchmark):
    row = benchmark("simple_fills").without_edges(a_row(2, 2, 2.1, 3, 3, NAN))
    np.testing.assert_array_equal(row, a_row(2, 2, NAN, NAN, 3, NAN))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_colorization_follows_the_colours(benchmark, channels):
    image = np.zeros((12, 20, *channels), np.uint8)
    image[:, 10:] = 255
    truth = np.full((12, 20), 1, np.float32)
    truth[:, 10:] = 3
    sensor = truth.copy()
    sensor[:, 6:14] = NAN
    filled = benchmark("simple_fills").colorization(sensor, image)
    np.testing.assert_allclose(filled, truth, atol=0.02)


@pytest.mark.parametrize(
    "name",
    [
        *("nearest", "nearest_edges_out", "far_side", "inpaint"),
        *("colorization", "colorization_edges_out", "colorization_sharp"),
    ],
)
def test_a_simple_way_fills_one_surface_and_makes_none_of_nothing(benchmark, name):
    ways = benchmark("ways")
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    sensor = np.full((16, 20), 2.5, np.float32)
    sensor[3:9, 5:15] = NAN
    filled = ways.WAYS[name].fuse(ways.Seen(sensor, image))
    np.testing.assert_allclose(filled, 2.5, atol=5e-3)  # OpenCV rounds
    assert filled.dtype == np.float32
    nothing = np.full_like(sensor, NAN)
    assert np.isnan(ways.WAYS[name].fuse(ways.Seen(nothing, image))).all()


def test_the_sensors_sigma_is_its_noise_and_half_a_step(benchmark):
    inverse_sigma = benchmark("contradiction").inverse_sigma
    sensor = DepthSensorConfig(range_noise_per_m=0.002, baseline_m=0.05, disparity_steps_per_px=20)
    assert inverse_sigma(500, sensor) == pytest.approx(0.003)
    assert inverse_sigma(500, DepthSensorConfig.ideal()) == 0


def test_a_sensor_is_sure_on_planes_and_not_at_borders_and_holes(benchmark):
    sure_pixels = benchmark("contradiction").sure_pixels
    slanted = (1 / (0.5 + 0.02 * np.arange(12)[:, None] - 0.01 * np.arange(16))).astype(np.float32)
    inside = np.zeros(slanted.shape, bool)
    inside[1:-1, 1:-1] = True
    np.testing.assert_array_equal(sure_pixels(slanted, 1e-6), inside)

    broken = slanted.copy()
    broken[:, 8:] *= 1.2
    broken[5, 3] = NAN
    wanted = inside.copy()
    wanted[:, 7:9] = False
    wanted[4:7, 2:5] = False
    np.testing.assert_array_equal(sure_pixels(broken, 0.003), wanted)


def test_more_than_three_sigmas_are_a_contradiction(benchmark):
    contradicted = benchmark("contradiction").contradicted
    sensor = a_row(2, 2, 2, 2, 2)
    is_sure = np.array([[True, True, True, True, False]])
    sigma = 0.01  # 0.04 m at 2 m
    depth = a_row(2.11, 1.89, 2.13, NAN, 9)
    assert contradicted(depth, sensor, is_sure, sigma) == (1, 3)


def test_what_is_hidden_is_borders_and_blocks_apart_and_always_the_same(benchmark):
    hidden_pixels = benchmark("hiding").hidden_pixels
    _, truth, _ = a_scene()
    hidden = hidden_pixels(truth)
    assert not (hidden.blocks & hidden.bands).any()
    assert hidden.blocks.any()
    rows, cols = hidden.bands.nonzero()
    assert (rows.min(), rows.max()) >= (14 - 5, 33) and cols.min() >= 20 - 5
    assert hidden.bands[14, 20:44].mean() > 0.5
    np.testing.assert_array_equal(hidden.bands, hidden_pixels(truth).bands)
    flat = hidden_pixels(np.full_like(truth, 2))
    assert not flat.bands.any()


def test_fusion_writes_every_figure_and_the_table(benchmark, checkpoint, tmp_path):
    image, truth, sensor = a_scene()
    camera = {name: getattr(CAMERA, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    sample = DepthSample("000000000-00", image, truth, sensor, camera)
    write_shard(tmp_path / shard_name(0), [sample])
    page = tmp_path / "results.md"
    page.write_text("<!-- fusion: begin -->old<!-- fusion: end -->")
    fusion = benchmark("fusion")
    words = f"--checkpoint {checkpoint} --held-out {tmp_path} --count 1 --markdown {page}"
    fusion.main([*words.split(), "--json", str(tmp_path / "fusion.json")])
    figures = json.loads((tmp_path / "fusion.json").read_text())

    for name in fusion.COLUMNS:
        assert name == "absrel_holes" or f"sensor.{name}" in figures
        assert f"nearest.{name}" in figures
        assert f"perfect_field.{name}" in figures
    assert figures["sensor.absrel"] == 0
    assert "sensor.absrel_holes" not in figures
    assert figures["sensor.share"] == pytest.approx(1 - 80 / truth.size, rel=1e-4)
    # Half of the shadow takes the box's depth, 1.2 m for 2 m, but for the corners.
    assert 0.15 < figures["nearest.absrel_holes"] < 0.2
    assert figures["far_side.absrel"] == 0
    assert figures["nearest.contradiction"] == 0
    assert figures["perfect_field.absrel"] < 0.01
    text = page.read_text()
    assert "old" not in text
    for way in fusion.WAYS.values():
        assert f"| {way.title} |" in text


def test_real_frames_are_asked_for_what_is_hidden(benchmark, checkpoint, tmp_path, monkeypatch):
    image, truth, _ = a_scene()
    folder = tmp_path / "frames" / "box"
    folder.mkdir(parents=True)
    Image.fromarray(image).save(folder / "rgb.png")
    write_depth_png16(folder / "raw_depth.png", truth, is_metric=True)
    np.savetxt(folder / "intrinsics.txt", [[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
    real = benchmark("real_rgbd")
    monkeypatch.setattr(real, "TILE_PX", 64)
    words = f"{folder.parent} --checkpoint {checkpoint} --pictures {tmp_path / 'pictures'}"
    real.main([*words.split(), "--json", str(tmp_path / "real.json")])
    figures = json.loads((tmp_path / "real.json").read_text())

    assert figures["sensor.hidden_share"] == 0
    for name in ("nearest", "colorization"):
        assert figures[f"{name}.hidden_share"] == 1
        # Far from the border nothing can go wrong; at it, a pixel may take the other side.
        assert figures[f"{name}.hidden_mae_mm"] < figures[f"{name}.hidden_border_mae_mm"] < 800
        assert figures[f"box.{name}.hidden_mae_mm"] == figures[f"{name}.hidden_mae_mm"]
    with Image.open(tmp_path / "pictures" / "box.png") as picture:
        assert picture.width > real.TILES_A_ROW * 64


def test_a_way_too_slow_for_a_frame_is_left_out_aloud(benchmark, capsys):
    usable = benchmark("real_rgbd").usable
    assert usable(["nearest", "colorization"], 1280 * 720).keys() == {"nearest"}
    assert "colorization left out: 921600 pixels" in capsys.readouterr().out
