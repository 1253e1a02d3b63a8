"""Real frames without truth: `python benchmarks/real_rgbd.py FOLDER --json FILE --pictures DIR`.

Each folder in FOLDER is a frame: `rgb.*`, `raw_depth.png` (uint16 millimetres, 0 = none,
registered to the image) and `intrinsics.txt` (3 x 3). Blocks and bands along borders are hidden
(`hiding.py`), and every way of `ways.py` is asked for them. Only where the sensor was sure
(`contradiction.py`) does its word count as the truth:

* `<way>.hidden_mae_mm`, `<way>.hidden_border_mae_mm`: mean absolute error in the blocks, in the
  bands; `<way>.hidden_absrel`, `<way>.hidden_border_absrel`: the same over the depth, for in
  metres what is far decides alone;
* `<way>.hidden_share`: of all these pixels, those that got a depth; 0 where the fit is refused;
* `edge_correlation.own`, `.mirrored`: of the image with the frame's own sensor, and with that
  mirrored, which `alignment.min_edge_correlation` is to tell apart.

All are means over the frames that have them, and `<frame>.<way>. ...` of each. The pictures show
each way's cloud from the side, with nothing hidden.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from contradiction import inverse_sigma, sure_pixels
from hiding import hidden_pixels
from torch import Tensor
from ways import WAYS, Seen, Way

from ppd_core import AlignmentError, DepthPipeline, Intrinsics
from ppd_core.alignment.relation import edge_correlation
from ppd_core.bench.report import print_figures, write_report
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import read_depth_png16, read_image, write_png
from ppd_core.sim.depth_sensor import DepthSensorConfig
from ppd_ros.tiles import sheet, titled

TILE_PX = 640
TILES_A_ROW = 3
YAW_DEG, PITCH_DEG = 35.0, 15.0
REACH = 2.5
"""Clouds are drawn up to so many times the sensor's median depth."""


@dataclass(frozen=True, eq=False)
class RealFrame:
    """A frame from disk; depth (H, W) float32, metres, NaN = hole."""

    name: str
    image: np.ndarray
    sensor: np.ndarray
    intrinsics: Intrinsics


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write the JSON and the pictures."""
    args = _arguments(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    frames = [read_frame(folder) for folder in sorted(args.folder.iterdir()) if folder.is_dir()]
    if not frames:
        raise ValueError(f"{args.folder} must hold a folder for each frame, got none")
    ways = usable(args.ways, max(frame.sensor.size for frame in frames))
    is_needed = any(way.relative == "nano" for way in ways.values())
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu") if is_needed else None
    figures: dict[str, float] = {}
    for frame in frames:
        relative = None if pipeline is None else pipeline(frame.image).relative_depth
        for name, errors in hidden_errors(frame, relative, ways).items():
            figures |= {f"{frame.name}.{name}.{figure}": value for figure, value in errors.items()}
        for name, sensor in {"own": frame.sensor, "mirrored": frame.sensor[:, ::-1]}.items():
            correlation, _ = edge_correlation(frame.image, torch.from_numpy(sensor.copy()))
            figures[f"{frame.name}.edge_correlation.{name}"] = correlation.item()
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            picture = side_views(frame, relative, ways)
            write_png(args.pictures / f"{frame.name}.png", picture)
    figures = means(figures) | figures
    print_figures(figures)
    if args.json is not None:
        write_report(args.json, figures)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    known = [name for name, way in WAYS.items() if way.relative in (None, "nano")]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--checkpoint", default="nano", metavar="FILE", help="default: nano")
    parser.add_argument(
        "--ways", nargs="+", choices=known, default=known, metavar="WAY", help="default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write one a frame")
    return parser.parse_args(argv)


def read_frame(folder: Path) -> RealFrame:
    """Read a frame.

    Raises:
        ValueError: a file is missing or no such file, or the two images differ in size.
    """
    paths = sorted(folder.glob("rgb.*"))
    if len(paths) != 1:
        raise ValueError(f"{folder} must have one rgb.*, got {[path.name for path in paths]}")
    image, sensor = read_image(paths[0]), read_depth_png16(folder / "raw_depth.png")
    if image.shape[:2] != sensor.shape:
        raise ValueError(
            f"{folder}: image and depth must be of one size, "
            f"got {image.shape[:2]} and {sensor.shape}"
        )
    matrix = np.loadtxt(folder / "intrinsics.txt")
    if matrix.shape != (3, 3):
        raise ValueError(f"{folder}/intrinsics.txt must be 3 x 3, got {matrix.shape}")
    height, width = sensor.shape
    camera = Intrinsics(width, height, *(float(matrix[at]) for at in _PLACES))
    return RealFrame(folder.name, image, sensor, camera)


_PLACES = (0, 0), (1, 1), (0, 2), (1, 2)  # fx, fy, cx, cy


def usable(names: list[str], pixels: int) -> dict[str, Way]:
    """The ways by name, without those that are too slow for the largest frame; says which."""
    ways = {name: WAYS[name] for name in names}
    for name, way in list(ways.items()):
        if pixels > way.max_pixels:
            print(f"{name} left out: {pixels} pixels a frame, at most {way.max_pixels}")
            del ways[name]
    return ways


def hidden_errors(
    frame: RealFrame, relative: Tensor | None, ways: Mapping[str, Way]
) -> dict[str, dict[str, float]]:
    """Way -> the figures of one frame; an error of no pixel is left out."""
    hidden = hidden_pixels(frame.sensor)
    sigma = inverse_sigma(frame.intrinsics.fx, DepthSensorConfig())
    is_sure = sure_pixels(frame.sensor, sigma)
    masks = {"hidden": hidden.blocks & is_sure, "hidden_border": hidden.bands & is_sure}
    is_asked = np.logical_or(*masks.values())
    shown = np.where(hidden.blocks | hidden.bands, np.float32(np.nan), frame.sensor)
    figures: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        depth = fused(way, Seen(shown, frame.image, relative))
        has_depth = np.isfinite(depth)
        error = np.abs(depth - frame.sensor)
        figures[name] = {}
        for place, mask in masks.items():
            counted = mask & has_depth
            if counted.any():
                relative_error = error[counted] / frame.sensor[counted]
                figures[name][f"{place}_mae_mm"] = 1000 * float(error[counted].mean())
                figures[name][f"{place}_absrel"] = float(relative_error.mean())
        figures[name]["hidden_share"] = float(
            (is_asked & has_depth).sum() / max(is_asked.sum(), 1)
        )
    return figures


def fused(way: Way, seen: Seen) -> np.ndarray:
    """(H, W) float32, metres; all NaN where the way refuses."""
    if way.relative is None:
        seen = replace(seen, relative=None)
    try:
        return way.fuse(seen)
    except AlignmentError:
        return np.full_like(seen.sensor, np.nan)


def means(figures: Mapping[str, float]) -> dict[str, float]:
    """`<way>.<figure>` over all frames that have it."""
    by_way: dict[str, list[float]] = {}
    for key, value in figures.items():
        by_way.setdefault(key.partition(".")[2], []).append(value)
    return {key: statistics.fmean(values) for key, values in by_way.items()}


def side_views(frame: RealFrame, relative: Tensor | None, ways: Mapping[str, Way]) -> np.ndarray:
    """The image, and the clouds of all ways from one side."""
    height, width = frame.sensor.shape
    size = {"width": TILE_PX, "height": round(TILE_PX * height / width)}
    rays = ray_table(frame.intrinsics)
    # Some far pixels would make all that is near too small to see.
    reach_m = REACH * float(np.nanmedian(frame.sensor))
    framed = backproject(torch.from_numpy(up_to(frame.sensor, reach_m)), rays)
    small = cv2.resize(frame.image, tuple(size.values()), interpolation=cv2.INTER_AREA)
    tiles = [titled(small, frame.name)]
    for name, way in ways.items():
        depth = fused(way, Seen(frame.sensor, frame.image, relative))
        points = backproject(torch.from_numpy(up_to(depth, reach_m)), rays)
        picture = render_cloud(
            points, frame.image, **size, yaw_deg=YAW_DEG, pitch_deg=PITCH_DEG, framed=framed
        )
        tiles.append(titled(picture, name if np.isfinite(depth).any() else f"{name}: refused"))
    rows = math.ceil(len(tiles) / TILES_A_ROW)
    return sheet([tiles[TILES_A_ROW * row : TILES_A_ROW * (row + 1)] for row in range(rows)])


def up_to(depth: np.ndarray, reach_m: float) -> np.ndarray:
    """The depth with holes where it is farther."""
    return np.where(depth < reach_m, depth, np.float32(np.nan))


if __name__ == "__main__":
    main()
