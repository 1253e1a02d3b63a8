"""What fewer bits cost: `python benchmarks/precision.py --json FILE`.

The same held-out frames from the same noise in float32 (`fp32`), bfloat16 (`bf16`), float16
(`fp16`), and with most linear layers in float8 (`fp8`), at the camera's size:

* `absrel_to_fp32`: mean of |z - z_fp32| / z_fp32, in metres under one fixed line for all frames:
  relative depth 0 is 0.5 m away and 1 is 5 m, and what is below 0 counts as 0.
* `rmse_relative`: of relative depth, against that in float32.
* `absrel` and `flying_share`: as in `nano.py`, against the truth, under each frame's best fit.
* `ms_frame`: the median time of a call of the pipeline, the precisions taking turns; in the table
  over that of float32. On a CPU fp8 is a reference product in float32
  (`ppd_core/models/float8.py`): its time there says nothing of a GPU's.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from pathlib import Path

import torch
from held_out import held_out_batches, make_held_out
from nano import CAMERA_RADIUS_PX, WARM_UP_CALLS
from predict import model_images, sampled, upsampled
from results_table import markdown_table, replace_between_markers
from scores import Scores
from torch import Tensor
from tqdm import tqdm

from ppd_core import DepthPipeline
from ppd_core.alignment.affine import alignment_from_range, to_metric_depth
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.device import DTYPES

FRAMES = 100
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8"}
REFERENCE = "fp32"
NOT_MEASURED = "not measured"
LINE = alignment_from_range(0.5, 5.0)
COLUMNS = {
    "absrel_to_fp32": ("error to fp32", ".5f"),
    "rmse_relative": ("RMSE of relative depth to fp32", ".5f"),
    "flying_share": ("flying pixels", ".4f"),
    "absrel": ("AbsRel", ".4f"),
    "ms_frame": ("time over fp32's", ".2f"),
}
"""Figure of a precision -> what the table calls it, and its digits."""


class Difference:
    """Sums over frames of how far a precision's depth is from the reference's."""

    def __init__(self) -> None:
        self._relative_error = self._squares = 0.0
        self._pixels = 0

    def add(self, relative_depth: Tensor, reference: Tensor) -> None:
        """Take in a batch, (B, H, W) relative depth each."""
        metres, expected = (
            to_metric_depth(one.double().clamp(min=0), LINE) for one in (relative_depth, reference)
        )
        self._relative_error += ((metres - expected).abs() / expected).sum().item()
        self._squares += (relative_depth.double() - reference.double()).square().sum().item()
        self._pixels += relative_depth.numel()

    def figures(self) -> dict[str, float]:
        """absrel_to_fp32, rmse_relative."""
        return {
            "absrel_to_fp32": self._relative_error / self._pixels,
            "rmse_relative": math.sqrt(self._squares / self._pixels),
        }


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipelines = {
        name: DepthPipeline.from_pretrained(
            args.model, device=args.device, dtype=DTYPES[PRECISIONS[name]], backend="eager"
        )
        for name in (REFERENCE, *(name for name in args.precisions if name != REFERENCE))
    }
    make_held_out(args.held_out, args.limit, args.processes)
    figures = quality(pipelines, args.held_out, args.limit, args.batch_size)
    figures |= milliseconds(pipelines, args.held_out, args.calls)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "precision", table(figures))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", default="nano", metavar="NAME|FILE", help="preset or checkpoint (default: nano)"
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=list(PRECISIONS),
        choices=PRECISIONS,
        help=f"beside {REFERENCE} (default: all; fp8 needs a CPU, or Ada, Hopper or newer)",
    )
    parser.add_argument(
        "--held-out",
        type=Path,
        default=Path("out/held_out"),
        metavar="DIR",
        help="where the held-out frames are, or shall be rendered (default: out/held_out)",
    )
    parser.add_argument("--limit", type=int, default=FRAMES, metavar="N", help="frames to measure")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    parser.add_argument("--calls", type=int, default=20, metavar="N", help="timed calls of each")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="page whose table is filled in"
    )
    return parser.parse_args(argv)


def quality(
    pipelines: dict[str, DepthPipeline], folder: Path, frames: int, batch_size: int
) -> dict[str, float]:
    """All but the times, `PRECISION.FIGURE`; the reference is the first of the pipelines."""
    area = pipelines[REFERENCE].config.preprocess.processing_area
    differences = {name: Difference() for name in pipelines}
    scores = {name: Scores(CAMERA_RADIUS_PX) for name in pipelines}
    with tqdm(total=frames, unit="frame") as progress:
        for batch in held_out_batches(folder, frames, batch_size):
            images = model_images(batch.images, area)
            size = batch.depth.shape[-2:]
            fields = {
                name: upsampled(sampled(pipeline, images), *size).cpu()
                for name, pipeline in pipelines.items()
            }
            for name, field in fields.items():
                differences[name].add(field, fields[REFERENCE])
                scores[name].add(field, batch.depth, batch.valid_mask, batch.intrinsics)
            progress.update(len(batch.images))
    return {
        f"{name}.{figure}": value
        for name in pipelines
        for figure, value in (differences[name].figures() | scores[name].figures()).items()
        if figure in COLUMNS
    }


def milliseconds(
    pipelines: dict[str, DepthPipeline], folder: Path, calls: int
) -> dict[str, float]:
    """`PRECISION.ms_frame`: of one frame a call, from the image to relative depth at its size."""
    (batch,) = held_out_batches(folder, 1, 1)
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for call in range(WARM_UP_CALLS + calls):
        for name, pipeline in pipelines.items():
            start = time.perf_counter()
            pipeline(batch.images[0]).relative_depth.cpu()  # which waits for a GPU
            if call >= WARM_UP_CALLS:
                seconds[name].append(time.perf_counter() - start)
    return {f"{name}.ms_frame": 1e3 * statistics.median(each) for name, each in seconds.items()}


def table(figures: dict[str, float]) -> str:
    """A row a precision; what was left out was not measured."""

    def cell(name: str, figure: str) -> str:
        value = figures.get(f"{name}.{figure}")
        if value is None:
            return NOT_MEASURED
        if figure == "ms_frame":
            value /= figures[f"{REFERENCE}.{figure}"]
        return f"{value:{COLUMNS[figure][1]}}"

    rows = [
        [f"{name} ({long_name})", *(cell(name, figure) for figure in COLUMNS)]
        for name, long_name in PRECISIONS.items()
    ]
    facts = f"`{command()}`\non {hardware()}:"
    return f"{facts}\n\n{markdown_table(['', *(title for title, _ in COLUMNS.values())], rows)}"


if __name__ == "__main__":
    main()
