"""How good the metres are: `python benchmarks/alignment.py --json FILE`.

1. The robust fit alone, on planted samples with 40 % of gross outliers, clustered ones included.
2. Nano on held-out scenes, tied to a simulated depth sensor with all its faults, by the global fit
   alone and with the local correction, and to 2,000 points of a LiDAR; errors against the truth.
3. A static scene under the sensor's noise: how far the depth of a flat patch wanders.
4. What it costs at 1024 x 768.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from held_out import HeldOutBatch, held_out_batches, make_held_out
from planted import PATTERNS, planted
from predict import model_images, sampled, upsampled
from report import hardware, print_figures, write_report
from torch import Tensor
from tqdm import tqdm

from ppd_core import AlignmentError, DepthPipeline, Intrinsics
from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import FrameAligner, fitted, locally_aligned
from ppd_core.alignment.anchors import Anchors, depth_anchors, point_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.fit import fit_affine
from ppd_core.evaluation.edge_cloud import edge_pixels
from ppd_core.evaluation.metrics import abs_rel, apply_affine_log, fit_affine_log
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.sim.depth_sensor import DepthSensorConfig, sense_depth

PLANTED_SEEDS = 1000
FRAMES = 200
RADIUS_PX = 3
"""Of the edge measures at the camera's size, as in `nano.py`."""
LIDAR_POINTS = 2000
LIDAR_NOISE_M = 0.02
STATIC_FRAMES = 300
STATIC_SCENES = 5
STATIC_RATE_HZ = 30.0
SETTLED = 30
"""Frames after which a tracker has settled."""
COST_SIZE = (768, 1024)
CONFIG = AlignmentConfig()
FIELD = AlignmentConfig(has_field=True)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    make_held_out(args.held_out, args.limit, args.processes)
    figures = planted_errors(args.planted_seeds)
    figures |= quality(pipeline, args.held_out, args.limit)
    figures |= static_scenes(pipeline, args.held_out, args.static_frames)
    figures |= cost(pipeline, args.held_out, args.calls)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", metavar="FILE", help="default: nano")
    parser.add_argument(
        "--held-out",
        type=Path,
        default=Path("out/held_out"),
        metavar="DIR",
        help="where the held-out frames are, or shall be rendered (default: out/held_out)",
    )
    parser.add_argument("--limit", type=int, default=FRAMES, metavar="N", help="frames to measure")
    parser.add_argument("--planted-seeds", type=int, default=PLANTED_SEEDS, metavar="N")
    parser.add_argument("--static-frames", type=int, default=STATIC_FRAMES, metavar="N")
    parser.add_argument("--calls", type=int, default=30, metavar="N", help="timed calls")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args(argv)


def planted_errors(seeds: int) -> dict[str, float]:
    """The largest errors of slope and shift over so many scenes, the patterns taking turns."""
    slope, shift = [0.0], [0.0]
    names = list(PATTERNS)
    for seed in tqdm(range(seeds), desc="planted", unit="fit"):
        relative, metres, true_scale, true_shift = planted(seed, names[seed % len(names)])
        fit = fit_affine(relative, metres, torch.ones_like(metres), CONFIG)
        slope.append(abs(fit.scale.item() - true_scale))
        shift.append(abs(fit.shift.item() - true_shift))
    return {"planted_slope_error_max": max(slope), "planted_shift_error_max": max(shift)}


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A held-out frame with nano's depth. Planes are (H, W) float32; depths in metres."""

    image: np.ndarray
    relative: Tensor
    truth: Tensor
    valid_mask: Tensor
    sensor: Tensor
    intrinsics: Intrinsics


def frames_of(pipeline: DepthPipeline, folder: Path, count: int) -> Iterator[Frame]:
    """The first held-out frames, as the pipeline sees them."""
    for batch in held_out_batches(folder, count, 8):
        images = model_images(batch.images, pipeline.config.preprocess.processing_area)
        relative = upsampled(sampled(pipeline, images), *batch.depth.shape[-2:])
        yield from _frames(batch, relative)


def _frames(batch: HeldOutBatch, relative: Tensor) -> Iterator[Frame]:
    if batch.sensor_depth is None:
        raise ValueError("the held-out shards must have the sensor's depth, got shards without")
    for index, image in enumerate(batch.images):
        yield Frame(
            image,
            relative[index],
            batch.depth[index],
            batch.valid_mask[index],
            batch.sensor_depth[index],
            batch.intrinsics[index],
        )


def quality(pipeline: DepthPipeline, folder: Path, count: int) -> dict[str, float]:
    """Errors on held-out scenes; frames whose fit is refused count in `untrusted_share` alone."""
    tables: dict[str, list[float]] = {}
    edges = {name: EdgeShare() for name in ("field", "relative", "sensor")}
    refused = 0
    generator = torch.Generator().manual_seed(0)
    progress = tqdm(frames_of(pipeline, folder, count), total=count, unit="frame")
    for frame in progress:
        try:
            row = _aligned_errors(frame, edges, generator)
        except AlignmentError:
            refused += 1
            continue
        for name, value in row.items():
            tables.setdefault(name, []).append(value)
    if not tables:
        raise ValueError("no frame of the held-out scenes could be aligned")
    mean = {name: statistics.fmean(values) for name, values in tables.items()}
    return {
        "absrel_ratio_to_oracle": mean["global_absrel"] / mean["oracle_absrel"],
        "field_rmse_ratio": mean["field_rmse_m"] / mean["global_rmse_m"],
        "flying_share_field": edges["field"].share(),
        "flying_share_relative": edges["relative"].share(),
        "flying_share_sensor": edges["sensor"].share(),
        "flying_share_sensor_points": edges["sensor"].share_of_points(),
        "lidar_ratio": mean["lidar_absrel"] / mean["global_absrel"],
        "untrusted_share": refused / count,
        **mean,
    }


class EdgeShare:
    """Flying pixels, summed over frames."""

    def __init__(self) -> None:
        self._near = self._flying = self._near_points = self._flying_points = 0

    def add(self, depth: Tensor, frame: Frame) -> None:
        """Take in a depth of the frame; NaN, where there is no point, lies on no surface."""
        planes = (depth[None], frame.truth[None], frame.valid_mask[None])
        pixels = edge_pixels(*planes, radius_px=RADIUS_PX)
        has_point = torch.isfinite(depth)
        self._near += int(pixels.near_edge.sum())
        self._flying += int(pixels.flying.sum())
        self._near_points += int((pixels.near_edge[0] & has_point).sum())
        self._flying_points += int((pixels.flying[0] & has_point).sum())

    def share(self) -> float:
        """Of the pixels near an edge, those on neither surface, or without a depth."""
        return self._flying / max(self._near, 1)

    def share_of_points(self) -> float:
        """Of the pixels near an edge that have a depth, those on neither surface."""
        return self._flying_points / max(self._near_points, 1)


def _aligned_errors(
    frame: Frame, edges: dict[str, EdgeShare], generator: torch.Generator
) -> dict[str, float]:
    relative, height, width = frame.relative, *frame.truth.shape
    batch = (frame.truth[None], frame.valid_mask[None])
    oracle = apply_affine_log(relative[None], *fit_affine_log(relative[None], *batch))
    anchors = depth_anchors(frame.sensor, height, width, CONFIG)
    alignment = fitted(relative, anchors, CONFIG)
    overall = to_metric_depth(relative, alignment)
    local = locally_aligned(relative, anchors, alignment)
    lidar = to_metric_depth(relative, fitted(relative, _lidar_anchors(frame, generator), CONFIG))
    for name, depth in (("field", local), ("relative", oracle[0]), ("sensor", frame.sensor)):
        edges[name].add(depth, frame)

    def absrel(depth: Tensor) -> float:
        # The line falls below the lens for a few pixels of a few frames: as wrong as can be.
        return abs_rel(torch.nan_to_num(depth, nan=1e-3)[None], *batch).item()

    def rmse_m(depth: Tensor) -> float:
        error = (torch.nan_to_num(depth, nan=1e-3) - frame.truth)[frame.valid_mask]
        return error.square().mean().sqrt().item()

    return {
        "oracle_absrel": absrel(oracle[0]),
        "global_absrel": absrel(overall),
        "field_absrel": absrel(local),
        "lidar_absrel": absrel(lidar),
        "global_rmse_m": rmse_m(overall),
        "field_rmse_m": rmse_m(local),
        "field_valid_share": torch.isfinite(local).float().mean().item(),
        "sensor_valid_share": torch.isfinite(frame.sensor).float().mean().item(),
    }


def _lidar_anchors(frame: Frame, generator: torch.Generator) -> Anchors:
    """2,000 points of what the camera sees, measured with noise, in the LiDAR's own frame."""
    points = backproject(frame.truth, ray_table(frame.intrinsics))[frame.valid_mask]
    chosen = points[torch.randperm(len(points), generator=generator)[:LIDAR_POINTS]]
    chosen = chosen + LIDAR_NOISE_M * torch.randn(chosen.shape, generator=generator)
    # x forward, y left, z up, 10 cm above the camera.
    camera_from_lidar = torch.tensor(
        [[0, -1, 0, 0], [0, 0, -1, -0.1], [1, 0, 0, 0], [0, 0, 0, 1.0]]
    )
    in_lidar = (chosen - camera_from_lidar[:3, 3]) @ camera_from_lidar[:3, :3]
    return point_anchors(in_lidar, camera_from_lidar, frame.intrinsics, CONFIG)


def static_scenes(pipeline: DepthPipeline, folder: Path, count: int) -> dict[str, float]:
    """How far a flat patch's depth wanders, tracked over fitted frame by frame."""
    ratios = []
    for frame in frames_of(pipeline, folder, 4 * STATIC_SCENES):
        if len(ratios) == STATIC_SCENES:
            break
        try:
            fitted(frame.relative, depth_anchors(frame.sensor, *frame.truth.shape, CONFIG), CONFIG)
        except AlignmentError:
            continue
        ratios.append(_wander_ratio(frame, count))
    return {"static_std_ratio": statistics.fmean(ratios)}


def _wander_ratio(frame: Frame, count: int) -> float:
    tracked = FrameAligner(CONFIG)
    alone = FrameAligner(dataclasses.replace(CONFIG, is_tracked=False))
    patch = _flattest_patch(frame)
    rng = np.random.default_rng(0)
    seen: list[tuple[float, float]] = []
    for number in range(count):
        sensed = sense_depth(
            frame.truth.numpy(), frame.image, frame.intrinsics, DepthSensorConfig(), rng
        )
        anchors = depth_anchors(torch.from_numpy(sensed), *frame.truth.shape, CONFIG)
        stamp_s = number / STATIC_RATE_HZ
        depths = [
            one.align(frame.relative, anchors, stamp_s).metric_depth for one in (tracked, alone)
        ]
        means = [one[patch].mean().item() for one in depths if one is not None]
        if len(means) == len(depths):
            seen.append((means[0], means[1]))
    steady, wild = np.std(seen[min(SETTLED, len(seen) // 2) :], axis=0)
    return float(steady / wild)


def _flattest_patch(frame: Frame, side: int = 16) -> tuple[slice, slice]:
    """Where inverse depth is most nearly a plane."""
    inverse = torch.where(frame.valid_mask, 1 / frame.truth, torch.nan)
    best, found = float("inf"), (slice(0, side), slice(0, side))
    for top in range(0, inverse.shape[0] - side + 1, side):
        for left in range(0, inverse.shape[1] - side + 1, side):
            patch = inverse[top : top + side, left : left + side]
            bends = [patch.diff(n=2, dim=axis).abs().mean() for axis in (0, 1)]
            bend = (sum(bends) / patch.mean()).item()
            if bend < best:
                best, found = bend, (slice(top, top + side), slice(left, left + side))
    return found


def cost(pipeline: DepthPipeline, folder: Path, calls: int) -> dict[str, float]:
    """Milliseconds from a sensor's image to metres, both of 1024 x 768, with this many threads."""
    frame = next(frames_of(pipeline, folder, 1))
    relative, sensor = (_enlarged(one) for one in (frame.relative, frame.sensor))

    def call(config: AlignmentConfig) -> Callable[[], None]:
        aligner, stamps = FrameAligner(config), itertools.count()

        def align() -> None:
            anchors = depth_anchors(sensor, *COST_SIZE, config)
            aligned = aligner.align(relative, anchors, next(stamps) / STATIC_RATE_HZ)
            assert aligned.metric_depth is not None

        return align

    return {
        "ms_global_1024x768": _median_ms(call(CONFIG), calls),
        "ms_field_1024x768": _median_ms(call(FIELD), calls),
    }


def _enlarged(plane: Tensor) -> Tensor:
    rows, cols = (
        torch.arange(new) * old // new for old, new in zip(plane.shape, COST_SIZE, strict=True)
    )
    return plane[rows[:, None], cols]


def _median_ms(call: Callable[[], None], calls: int) -> float:
    seconds = []
    for _ in range(calls + 3):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[3:])


if __name__ == "__main__":
    main()
