"""What tying a video's frames gains and costs: `python benchmarks/steady.py --json FILE`.

Nano on held-out scenes in motion and at rest under a camera's noise, as `ppd depth` does it: each
frame `tied` to those before, and each `alone`, with the metres of a given range (`metres`: figures
are of log(1 + z)) and without any (`relative`).

`.static_breathing`, `.breathing`: at rest and in motion, the mean absolute change of a frame's
mean to the next; `.static_flicker`: at rest, that of a pixel, mean over pixels; `.error_change`:
in motion, the mean change of a surface point's error of log(1 + z), points followed by the known
poses, of metres alone. `ms.`: a frame's milliseconds, medians: the model, the tie, a frame read
from H.264, its colours with their range, and a picture of either film encoded.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clips import RATE_HZ, Clip, clip_arguments, clips, mean_error_change
from results_table import markdown_table, replace_between_markers
from torch import Tensor
from tqdm import tqdm

from ppd_core import DepthPipeline, DepthResult
from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.color_range import ColorRange
from ppd_core.image_files import depth_preview
from ppd_core.steady import SteadyDepth
from ppd_core.video import Video
from ppd_core.video_writer import Mp4Writer, Timing

NEAR_M, FAR_M = 0.5, 8.0
METHODS = {"alone": AlignmentConfig(is_tracked=False), "tied": AlignmentConfig()}
UNITS = {"metres": "log(1 + z)", "relative": "relative depth"}
COLUMNS = {
    "static_breathing": "breathing, at rest",
    "static_flicker": "flicker, at rest",
    "breathing": "breathing, moving",
    "error_change": "change of the error, moving",
}
MILLISECONDS = {
    "model": "the model",
    "tie": "the tie",
    "read": "read",
    "colors": "colours",
    "mp4": "film `mp4`",
    "side": "film `side`",
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = clip_arguments(__doc__, argv, moving_frames=15, static_frames=15)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    rows: dict[str, list[dict[str, float]]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in MILLISECONDS}
    for clip in tqdm(clips(args.scenes, args.moving_frames, args.static_frames), unit="clip"):
        for name, row in measured(pipeline, clip, seconds).items():
            rows.setdefault(name, []).append(row)
    figures = {
        f"{name}.{key}": statistics.fmean(row[key] for row in of_name)
        for name, of_name in rows.items()
        for key in of_name[0]
    }
    figures |= {f"ms.{name}": 1e3 * statistics.median(each) for name, each in seconds.items()}
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "steady", _tables(figures))


def measured(
    pipeline: DepthPipeline, clip: Clip, seconds: dict[str, list[float]]
) -> dict[str, dict[str, float]]:
    """Method and unit -> the figures of one scene; what each stage took is added to `seconds`."""
    results = {}
    for kind, frames in (("static", clip.static), ("moving", clip.moving)):
        results[kind] = [_timed(seconds["model"], pipeline, frame.image) for frame in frames]
    _time_films([frame.image for frame in clip.moving], results["moving"], seconds)
    rows = {}
    for name, config in METHODS.items():
        for unit in UNITS:
            times = seconds["tie"] if name == "tied" else []
            static, moving = (
                _depths(results[kind], unit, config, times) for kind in ("static", "moving")
            )
            row = {
                "static_breathing": _breathing(static),
                "static_flicker": static.diff(dim=0).abs().nanmean().item(),
                "breathing": _breathing(moving),
            }
            if unit == "metres":
                row["error_change"] = mean_error_change(moving.nan_to_num(), clip.moving)
            rows[f"{name}.{unit}"] = row
    return rows


def _timed(seconds: list[float], work: Callable[..., Any], *given: Any) -> Any:
    start = time.perf_counter()
    result = work(*given)
    seconds.append(time.perf_counter() - start)
    return result


def _depths(
    results: Sequence[DepthResult], unit: str, config: AlignmentConfig, seconds: list[float]
) -> Tensor:
    """(N, H, W): the depth of one clip, of which the model's part is known."""
    given = alignment_from_range(NEAR_M, FAR_M)
    number = 0

    def estimate(image: np.ndarray, stamp_s: float, **known: Any) -> DepthResult:
        result, aligner = results[number], known["alignment"]
        if aligner is None:
            return result
        aligned = aligner(image, result.relative_depth, None)
        return replace(result, metric_depth=aligned.metric_depth, alignment=aligned.alignment)

    steady = SteadyDepth(estimate, (lambda _: given) if unit == "metres" else None, config)
    depths = []
    blank = np.zeros((1, 1, 3), np.uint8)
    for number in range(len(results)):
        result = _timed(seconds, steady, blank, number / RATE_HZ)
        is_metric = result.metric_depth is not None
        depths.append(result.metric_depth.log1p() if is_metric else result.relative_depth)
    return torch.stack(depths)


def _breathing(depths: Tensor) -> float:
    return depths.nanmean(dim=(1, 2)).diff().abs().mean().item()


def _time_films(
    images: Sequence[np.ndarray], results: Sequence[DepthResult], seconds: dict[str, list[float]]
) -> None:
    colors = ColorRange()

    def colored(number: int, depth: Tensor) -> np.ndarray:
        return depth_preview(depth, colors.follow(depth, number / RATE_HZ))

    pictures = [
        _timed(seconds["colors"], colored, number, result.relative_depth)
        for number, result in enumerate(results)
    ]
    beside = [np.concatenate(pair, axis=1) for pair in zip(images, pictures, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        for name, frames in (("source", images), ("mp4", pictures), ("side", beside)):
            taken: list[float] = []
            _timed(taken, _write_film, Path(folder) / f"{name}.mp4", frames)
            if name in seconds:
                seconds[name].append(taken[0] / len(frames))
        taken = []
        read = _timed(taken, lambda: list(Video(Path(folder) / "source.mp4")))
        seconds["read"].append(taken[0] / len(read))


def _write_film(path: Path, frames: Sequence[np.ndarray]) -> None:
    with Mp4Writer(path, Timing(Fraction(1, round(RATE_HZ)), RATE_HZ)) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame, number, number + 1)


def _tables(figures: dict[str, float]) -> str:
    facts = f"`{command()}`\non {hardware()}:"
    rows = [
        [
            f"{name}, {title}",
            *(f"{figures.get(f'{name}.{unit}.{key}', float('nan')):.3g}" for key in COLUMNS),
        ]
        for unit, title in UNITS.items()
        for name in METHODS
    ]
    stages = [
        [
            title,
            f"{figures[f'ms.{name}']:.1f}",
            f"{figures[f'ms.{name}'] / figures['ms.model']:.1%}",
        ]
        for name, title in MILLISECONDS.items()
    ]
    tables = (
        markdown_table(["", *COLUMNS.values()], rows).replace("| nan |", "| - |"),
        markdown_table(["a frame of 320 x 240", "ms", "of the model"], stages),
    )
    return "\n\n".join([facts, *tables])


if __name__ == "__main__":
    main()
