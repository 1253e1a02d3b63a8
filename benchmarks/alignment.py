"""How good the metres are: `python benchmarks/alignment.py --json FILE`.

1. The robust fit alone, on planted samples with 40 % of gross outliers, clustered ones included.
2. Nano on held-out scenes, tied to a simulated depth sensor with all its faults, by the global fit
   alone and with the local correction, and to 2,000 points of a LiDAR; errors against the truth.
3. A static scene under the sensor's noise: how far the depth of a flat patch wanders.
4. What it costs at 1024 x 768.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from held_out import HeldOutBatch, held_out_batches, make_held_out
from planted import planted_errors
from predict import model_images, sampled, upsampled
from results_table import markdown_table, replace_between_markers
from static_scene import CONFIG, FIELD, RATE_HZ, STATIC_SCENES, Frame, static_scenes
from torch import Tensor
from tqdm import tqdm

from ppd_core import AlignmentError, DepthPipeline
from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import FrameAligner, fitted, locally_aligned
from ppd_core.alignment.anchors import Anchors, depth_anchors, point_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.evaluation.edge_cloud import edge_pixels
from ppd_core.evaluation.metrics import abs_rel, apply_affine_log, fit_affine_log
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject

PLANTED_SEEDS = 1000
FRAMES = 200
RADIUS_PX = 3
"""Of the edge measures at the camera's size, as in `nano.py`."""
LIDAR_POINTS = 2000
LIDAR_NOISE_M = 0.02
STATIC_FRAMES = 300
COST_SIZE = (768, 1024)


WANTED = {
    "planted_slope_error_max": ("largest error of the slope, planted", "0.001"),
    "planted_shift_error_max": ("largest error of the shift, planted", "0.001"),
    "absrel_ratio_to_oracle": ("AbsRel over that of the best fit to the truth", "1.15"),
    "field_rmse_ratio": ("RMSE with the field over that without", "0.6"),
    "flying_share_field": ("flying pixels near edges, with the field", "half the sensor's"),
    "flying_share_relative": ("the same of nano, best fit to the truth", ""),
    "flying_share_sensor": ("the same of the sensor, a hole being none", ""),
    "flying_share_sensor_points": ("the same of the sensor's points alone", ""),
    "field_valid_share": ("pixels with metres, with the field", "1"),
    "sensor_valid_share": ("pixels with metres, the sensor alone", ""),
    "lidar_ratio": ("AbsRel by 2,000 LiDAR points over that by the sensor", "1.3"),
    "static_std_ratio": ("wandering of a flat patch, tracked over fitted alone", "0.5"),
    "static_std_ratio_field": ("the same with the field", ""),
    "ms_global_1024x768": ("ms a frame of 1024 x 768, global", "10 on 4 cores"),
    "ms_field_1024x768": ("ms a frame of 1024 x 768, with the field", "25 on 4 cores"),
    "untrusted_share": ("frames whose fit is refused", ""),
    "oracle_absrel": ("AbsRel of the best fit to the truth", ""),
    "global_absrel": ("AbsRel, global", ""),
    "field_absrel": ("AbsRel, with the field", ""),
    "global_rmse_m": ("RMSE, global, m", ""),
    "field_rmse_m": ("RMSE, with the field, m", ""),
}
"""Figure -> what the table calls it, and at most how much (or just how much) it should be."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    make_held_out(args.held_out, args.limit, args.processes)
    figures = planted_errors(args.planted_seeds, CONFIG)
    figures |= quality(pipeline, args.held_out, args.limit)
    frames = frames_of(pipeline, args.held_out, min(args.limit, 4 * STATIC_SCENES))
    figures |= static_scenes(frames, args.static_frames)
    figures |= cost(pipeline, args.held_out, args.calls)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "alignment", _table(figures))


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
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="page whose table is filled in"
    )
    return parser.parse_args(argv)


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
    lidar = to_metric_depth(relative, fitted(relative, lidar_anchors(frame, generator), CONFIG))
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


def lidar_anchors(frame: Frame, generator: torch.Generator) -> Anchors:
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


def cost(pipeline: DepthPipeline, folder: Path, calls: int) -> dict[str, float]:
    """Milliseconds from a sensor's image to metres, both of 1024 x 768, with this many threads."""
    frame = next(frames_of(pipeline, folder, 1))
    relative, sensor = (_enlarged(one) for one in (frame.relative, frame.sensor))

    def call(config: AlignmentConfig) -> Callable[[], None]:
        aligner, stamps = FrameAligner(config), itertools.count()

        def align() -> None:
            anchors = depth_anchors(sensor, *COST_SIZE, config)
            aligned = aligner.align(relative, anchors, next(stamps) / RATE_HZ)
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


def _table(figures: dict[str, float]) -> str:
    rows = [[title, f"{figures[name]:.3g}", wanted] for name, (title, wanted) in WANTED.items()]
    facts = f"`{command()}`\non {hardware()}:"
    return f"{facts}\n\n{markdown_table(['', 'measured', 'wanted'], rows)}"


if __name__ == "__main__":
    main()
