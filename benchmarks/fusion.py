"""The sensor's metres with cleaner borders: `python benchmarks/fusion.py --json FILE`.

Every way to metres of `ways.py`, on held-out scenes with the simulated sensor's faults:

* `absrel`, `absrel_holes` (where the sensor has none), `rmse_m`: means over frames of what has a
  depth;
* `flying`, `unresolved`: shares of all pixels within 3 px of a true depth edge, by `edge_pixels`;
  a pixel without depth flies;
* `share`: of the true pixels, those with a depth. A frame whose fit is refused has none, and is in
  no error;
* `contradiction`: of the pixels where the sensor is sure, those that are moved by more than three
  of its own sigmas (`contradiction.py`);
* `ms`: the median of a frame on one thread, the model's own time aside.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from contradiction import contradicted, inverse_sigma, sure_pixels
from held_out import held_out_batches, make_held_out
from predict import model_images, sampled, target_depth, upsampled
from results_table import markdown_table, replace_between_markers
from static_scene import Frame
from torch import Tensor
from tqdm import tqdm
from ways import WAYS, Seen, Way

from ppd_core import AlignmentError, DepthPipeline
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.evaluation.counting import counted_mask
from ppd_core.evaluation.edge_cloud import edge_pixels
from ppd_core.sim.depth_sensor import DepthSensorConfig

FRAMES = 200
RADIUS_PX = 3
"""Of the edge measures at the camera's size, as in `nano.py`."""
COLUMNS = {
    "absrel": ("AbsRel", ".4f"),
    "absrel_holes": ("in holes", ".3f"),
    "rmse_m": ("RMSE, m", ".3f"),
    "flying": ("flying", ".3f"),
    "unresolved": ("unresolved", ".3f"),
    "share": ("share of pixels", ".3f"),
    "contradiction": ("contradiction", ".4f"),
    "ms": ("ms a frame", ".0f"),
}
"""Figure -> its column, and how it is written there."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    ways = {name: WAYS[name] for name in args.ways}
    make_held_out(args.held_out, args.count, args.processes)
    is_needed = any(way.relative == "nano" for way in ways.values())
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu") if is_needed else None
    figures = measure(ways, frames_of(pipeline, args.held_out, args.count), args.count)
    print_figures(figures)
    table = markdown_table(["", *(title for title, _ in COLUMNS.values())], rows(ways, figures))
    print(table)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        facts = f"`{command()}`\non {hardware()}:"
        replace_between_markers(args.markdown, "fusion", f"{facts}\n\n{table}")


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
    parser.add_argument("--count", type=int, default=FRAMES, metavar="N", help="frames to measure")
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help="default: all"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="page whose table is filled in"
    )
    return parser.parse_args(argv)


def frames_of(pipeline: DepthPipeline | None, folder: Path, count: int) -> Iterator[Frame]:
    """The first held-out frames; their relative depth is NaN without a pipeline."""
    for batch in held_out_batches(folder, count, 8):
        if batch.sensor_depth is None:
            raise ValueError("the held-out shards must have the sensor's depth, got some without")
        relative = torch.full_like(batch.depth, torch.nan)
        if pipeline is not None:
            images = model_images(batch.images, pipeline.config.preprocess.processing_area)
            relative = upsampled(sampled(pipeline, images), *batch.depth.shape[-2:])
        planes = (relative, batch.depth, batch.valid_mask, batch.sensor_depth)
        for image, *four, camera in zip(batch.images, *planes, batch.intrinsics, strict=True):
            yield Frame(image, *four, camera)


def measure(ways: Mapping[str, Way], frames: Iterator[Frame], count: int) -> dict[str, float]:
    """`<way>.<figure>` of each way; a figure that nothing counts for is left out."""
    scores = {name: FusionScores() for name in ways}
    for frame in tqdm(frames, total=count, unit="frame"):
        surety = Surety.of(frame)
        for name, way in ways.items():
            seen = Seen(frame.sensor.numpy(), frame.image, RELATIVES[way.relative](frame))
            start = time.perf_counter()
            try:
                depth = way.fuse(seen)
            except AlignmentError:
                scores[name].refuse()
                continue
            scores[name].add(depth, frame, surety, 1e3 * (time.perf_counter() - start))
    return {
        f"{name}.{figure}": value
        for name, one in scores.items()
        for figure, value in one.figures().items()
    }


RELATIVES: dict[str | None, Callable[[Frame], Tensor | None]] = {
    None: lambda frame: None,
    "nano": lambda frame: frame.relative,
    "perfect": lambda frame: target_depth(frame.truth[None], frame.valid_mask[None])[0],
}
"""The relative depth, (H, W) float32, that a way asks for by `Way.relative`."""


class Surety:
    """Where a frame's sensor is sure, and its sigma."""

    def __init__(self, is_sure: np.ndarray, sigma: float) -> None:
        self.is_sure, self.sigma = is_sure, sigma

    @classmethod
    def of(cls, frame: Frame) -> Surety:
        """By the simulated sensor's own figures."""
        sigma = inverse_sigma(frame.intrinsics.fx, DepthSensorConfig())
        return cls(sure_pixels(frame.sensor.numpy(), sigma), sigma)


class FusionScores:
    """The figures of one way, gathered frame by frame."""

    def __init__(self) -> None:
        self._by_frame: dict[str, list[float]] = {}
        self._near = self._flying = self._unresolved = self._moved = self._sure = 0

    def refuse(self) -> None:
        """Take in a frame that got no metres."""
        self._append({"share": 0.0})

    def add(self, depth: np.ndarray, frame: Frame, surety: Surety, ms: float) -> None:
        """Take in the depth of a frame, (H, W) metres with NaN for none."""
        truth, sensor = frame.truth.numpy(), frame.sensor.numpy()
        is_true = counted_mask(frame.truth, frame.valid_mask).numpy()
        has_depth = is_true & np.isfinite(depth)
        error = np.abs(depth - np.where(is_true, truth, 0), dtype=np.float64)
        share = has_depth.sum() / is_true.sum()
        self._append({"share": float(share), "ms": ms})
        if has_depth.any():
            self._append(
                {
                    "absrel": float((error[has_depth] / truth[has_depth]).mean()),
                    "rmse_m": math.sqrt(np.square(error[has_depth]).mean()),
                }
            )
        in_hole = has_depth & np.isnan(sensor)
        if in_hole.any():
            self._append({"absrel_holes": float((error[in_hole] / truth[in_hole]).mean())})
        planes = (torch.from_numpy(depth).nan_to_num(nan=0.0), frame.truth, frame.valid_mask)
        pixels = edge_pixels(*(plane[None] for plane in planes), radius_px=RADIUS_PX)
        self._near += int(pixels.near_edge.sum())
        self._flying += int(pixels.flying.sum())
        self._unresolved += int(pixels.unresolved.sum())
        moved, sure = contradicted(depth, sensor, surety.is_sure, surety.sigma)
        self._moved += moved
        self._sure += sure

    def figures(self) -> dict[str, float]:
        """Those of `COLUMNS` that something counts for."""
        figures = {
            name: statistics.fmean(values)
            for name, values in self._by_frame.items()
            if name != "ms"
        }
        if self._near:
            figures["flying"] = self._flying / self._near
            figures["unresolved"] = self._unresolved / self._near
        if self._sure:
            figures["contradiction"] = self._moved / self._sure
        if "ms" in self._by_frame:
            figures["ms"] = statistics.median(self._by_frame["ms"])
        return {name: figures[name] for name in COLUMNS if name in figures}

    def _append(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._by_frame.setdefault(name, []).append(value)


def rows(ways: Mapping[str, Way], figures: Mapping[str, float]) -> Sequence[Sequence[str]]:
    """One row a way, a dash where it has no figure."""
    return [
        [
            way.title,
            *(
                format(figures[f"{name}.{figure}"], style)
                if f"{name}.{figure}" in figures
                else "-"
                for figure, (_, style) in COLUMNS.items()
            ),
        ]
        for name, way in ways.items()
    ]


if __name__ == "__main__":
    main()
