"""Is a confidence of 0.8 right four times in five? `python benchmarks/confidence.py --json FILE`.

Right is within 3 % of the truth. On held-out scenes with the simulated sensor, for each way to
metres that has a confidence: the calibration error (expected, ten bins), the mean confidence, the
share that is right, and both of each bin.

Source: Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning", AAAI 2015 (the expected calibration error).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from alignment import frames_of, lidar_anchors
from held_out import make_held_out
from results_table import markdown_table, replace_between_markers
from static_scene import Frame
from tqdm import tqdm

from ppd_core import AlignmentConfig, DepthPipeline
from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.alignment.confidence import RIGHT_LOG
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.types import AlignedDepth

FRAMES, BINS = 200, 10
GLOBAL = AlignmentConfig(is_tracked=False)
FIELD = AlignmentConfig(is_tracked=False, has_field=True)
SURFACES = AlignmentConfig(is_tracked=False, has_surfaces=True)
_CHOOSER = SurfaceChooser()


def _dense(config: AlignmentConfig) -> Callable[[Frame, torch.Generator], AlignedDepth]:
    def aligned(frame: Frame, generator: torch.Generator) -> AlignedDepth:
        anchors = depth_anchors(frame.sensor, *frame.truth.shape, config)
        found = FrameAligner(config).align(frame.relative, anchors, 0.0, image=frame.image)
        return _CHOOSER(frame.image, found)

    return aligned


def _lidar(frame: Frame, generator: torch.Generator) -> AlignedDepth:
    return FrameAligner(FIELD).align(frame.relative, lidar_anchors(frame, generator), 0.0)


WAYS = {
    "global": ("global fit to a depth camera", _dense(GLOBAL)),
    "field": ("field", _dense(FIELD)),
    "surfaces": ("choice of surfaces", _dense(SURFACES)),
    "lidar": ("field, 2,000 points of a LiDAR", _lidar),
}


class Calibration:
    """Counts of one way's pixels, by their confidence."""

    def __init__(self) -> None:
        self._count, self._right, self._sum = torch.zeros(3, BINS, dtype=torch.float64)

    def add(self, aligned: AlignedDepth, frame: Frame) -> None:
        """Take in a frame; what has no depth, or no truth, does not count."""
        if aligned.metric_depth is None or aligned.confidence is None:
            return
        counts = frame.valid_mask & torch.isfinite(aligned.metric_depth)
        error = (aligned.metric_depth / frame.truth)[counts].log().abs()
        confidence = aligned.confidence[counts].double()
        which = (confidence * BINS).long().clamp(0, BINS - 1)
        self._count += torch.bincount(which, minlength=BINS)
        self._right += torch.bincount(which, (error < RIGHT_LOG).double(), BINS)
        self._sum += torch.bincount(which, confidence, BINS)

    def figures(self) -> dict[str, float]:
        """`ece`, `confidence`, `right`, and `share_<n>`, `right_<n>` of each bin."""
        total = self._count.sum()
        figures = {
            "ece": ((self._right - self._sum).abs().sum() / total).item(),
            "confidence": (self._sum.sum() / total).item(),
            "right": (self._right.sum() / total).item(),
        }
        for index in range(BINS):
            figures[f"share_{index}"] = (self._count[index] / total).item()
            if self._count[index]:
                figures[f"right_{index}"] = (self._right[index] / self._count[index]).item()
        return figures


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", metavar="FILE", help="default: nano")
    parser.add_argument("--held-out", type=Path, default=Path("out/held_out"), metavar="DIR")
    parser.add_argument("--count", type=int, default=FRAMES, metavar="N", help="frames to measure")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page to fill in")
    args = parser.parse_args(argv)
    make_held_out(args.held_out, args.count, args.processes)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    scores = {name: Calibration() for name in WAYS}
    generator = torch.Generator().manual_seed(0)
    for frame in tqdm(frames_of(pipeline, args.held_out, args.count), total=args.count):
        for name, (_, align) in WAYS.items():
            scores[name].add(align(frame, generator), frame)
    figures = {
        f"{name}.{key}": value
        for name, score in scores.items()
        for key, value in score.figures().items()
    }
    print_figures(figures)
    print(table(figures))
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "confidence", table(figures))


def table(figures: dict[str, float]) -> str:
    """A row for each way: what is right of each bin, and the share of the pixels in it."""
    rows = [
        [
            title,
            *(f"{figures[f'{name}.{key}']:.3f}" for key in ("ece", "confidence", "right")),
            *(_cell(figures, name, index) for index in range(BINS)),
        ]
        for name, (title, _) in WAYS.items()
    ]
    bins = [f"{index / BINS:.1f} to {(index + 1) / BINS:.1f}" for index in range(BINS)]
    head = ["", "calibration error", "mean confidence", "right", *bins]
    return f"`{command()}`\non {hardware()}:\n\n{markdown_table(head, rows)}"


def _cell(figures: dict[str, float], name: str, index: int) -> str:
    right = figures.get(f"{name}.right_{index}")
    return "-" if right is None else f"{right:.2f} ({figures[f'{name}.share_{index}']:.1%})"


if __name__ == "__main__":
    main()
