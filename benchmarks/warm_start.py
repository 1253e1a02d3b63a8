"""What a warm start costs and gains: `python benchmarks/warm_start.py --json FILE`.

Nano on held-out scenes in motion and at rest under a camera's noise, each frame fitted to its
truth by an affine map of log depth of its own: sampled from noise with 4 steps (`cold`) and with 2
(`cold_half`), and begun from the frame before with 2 of 4 (`warm`, as `DepthStream` does it). Two
more tell why: `warm_endless` never begins anew; nor does `warm_new_noise`, which noises the frame
before with new noise each time and not with the same.

`.absrel` is of the moving scenes and `.static_absrel` of those at rest, first frames left out,
since they are cold in any case; `.temporal_std`: at rest, the standard deviation of a pixel's
log(1 + z) over time, mean over pixels; `.error_change`: in motion, the mean change of a surface
point's error of log(1 + z) from one frame to the next, points followed by the known poses; `.ms`:
a frame, as the mean of cold and warm ones by their medians. `cut.`: AbsRel of the frames after a
cut to another scene, begun anew and not, and how often cuts are seen.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from clips import RATE_HZ, Clip, clip_arguments, clips, mean_error_change, truth
from cuts import FASTEST, cut_rates
from results_table import markdown_table, replace_between_markers
from torch import Tensor
from tqdm import tqdm

from ppd_core import DepthPipeline, DepthResult, DepthStream, WarmStartConfig
from ppd_core.bench.report import command, hardware, print_figures, write_report
from ppd_core.evaluation.metrics import abs_rel, apply_affine_log, fit_affine_log
from ppd_core.sim.camera import RgbdFrame

Estimate = Callable[[np.ndarray, float], DepthResult]
"""The frames of one clip, in their order: (image, stamp in seconds) -> depth."""
ENDLESS = WarmStartConfig(max_warm_frames=10**9)
BLIND = WarmStartConfig(cut_difference=math.inf)
AFTER_CUT = 4
METHODS = {
    "cold": "from noise, 4 steps",
    "cold_half": "from noise, 2 steps",
    "warm": "from the frame before, 2 of 4 steps, every fifth from noise",
    "warm_endless": "the same, none from noise but the first",
    "warm_new_noise": "the same, noised anew for each frame",
}
COLUMNS = {
    "absrel": "AbsRel, moving",
    "static_absrel": "AbsRel, at rest",
    "error_change": "change of the error, moving",
    "temporal_std": "deviation over time, at rest",
    "ms": "ms a frame",
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = clip_arguments(__doc__, argv, moving_frames=12, static_frames=10)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    if args.moving_frames <= FASTEST:
        raise ValueError(f"--moving-frames must be > {FASTEST}, got {args.moving_frames}")
    found = list(clips(args.scenes, args.moving_frames, args.static_frames))
    figures = quality(pipeline, found)
    figures |= after_cuts(pipeline, found)
    figures |= cut_rates(found)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "warm_start", _tables(figures))


def estimator(pipeline: DepthPipeline, method: str) -> Estimate:
    """What estimates the frames of one clip by a method."""
    if method in ("warm", "warm_endless"):
        return DepthStream(pipeline, ENDLESS if method == "warm_endless" else None)
    if method == "warm_new_noise":
        return _NewNoise(pipeline)
    num_steps = pipeline.config.sampler.num_steps // (2 if method == "cold_half" else 1)
    return lambda image, stamp_s: pipeline(image, num_steps=num_steps)


class _NewNoise:
    """Each frame from the one before, noised by other noise."""

    def __init__(self, pipeline: DepthPipeline) -> None:
        self._pipeline = pipeline
        self._generator = torch.Generator().manual_seed(1)
        self._previous: Tensor | None = None

    def __call__(self, image: np.ndarray, stamp_s: float) -> DepthResult:
        generator = None if self._previous is None else self._generator
        result = self._pipeline(image, previous=self._previous, generator=generator)
        self._previous = result.relative_depth_model
        return result


@dataclass
class Run:
    """A method on one clip.

    Attributes:
        absrel: of each frame.
        log_depth: (H, W) log(1 + z) of each, z by its own fit.
        seconds: of each call, cold ones and warm ones apart.
    """

    absrel: list[float] = field(default_factory=list)
    log_depth: list[Tensor] = field(default_factory=list)
    seconds: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})


def run(estimate: Estimate, frames: Sequence[RgbdFrame]) -> Run:
    """All frames of a clip."""
    done = Run()
    for number, frame in enumerate(frames):
        start = time.perf_counter()
        result = estimate(frame.image, number / RATE_HZ)
        done.seconds[result.is_warm].append(time.perf_counter() - start)
        relative, (depth, valid_mask) = result.relative_depth[None], truth(frame)
        fitted = apply_affine_log(relative, *fit_affine_log(relative, depth, valid_mask))
        done.absrel.append(abs_rel(fitted, depth, valid_mask).item())
        done.log_depth.append(fitted[0].log1p())
    return done


def quality(pipeline: DepthPipeline, found: Sequence[Clip]) -> dict[str, float]:
    """Errors, steadiness and time of each method, means over clips."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    seconds: dict[str, dict[bool, list[float]]] = {n: {False: [], True: []} for n in METHODS}
    for clip in tqdm(found, unit="clip"):
        # One after the other on each clip, so that what else the machine does is shared alike.
        for name in METHODS:
            moving = run(estimator(pipeline, name), clip.moving)
            static = run(estimator(pipeline, name), clip.static)
            rows[name].append(_row(moving, static, clip))
            for is_warm in (False, True):
                seconds[name][is_warm] += moving.seconds[is_warm] + static.seconds[is_warm]
    figures = {}
    for name in METHODS:
        for key in rows[name][0]:
            figures[f"{name}.{key}"] = statistics.fmean(row[key] for row in rows[name])
        count = sum(map(len, seconds[name].values()))
        parts = [len(s) / count * statistics.median(s) for s in seconds[name].values() if s]
        figures[f"{name}.ms"] = 1e3 * sum(parts)
        figures[f"{name}.warm_share"] = len(seconds[name][True]) / count
    return figures


def _row(moving: Run, static: Run, clip: Clip) -> dict[str, float]:
    valid_mask = truth(clip.static[0])[1][0]
    deviation = torch.stack(static.log_depth[1:]).std(0)
    return {
        "absrel": statistics.fmean(moving.absrel[1:]),
        "static_absrel": statistics.fmean(static.absrel[1:]),
        "error_change": mean_error_change(moving.log_depth[1:], clip.moving[1:]),
        "temporal_std": deviation[valid_mask].mean().item(),
    }


def after_cuts(pipeline: DepthPipeline, found: Sequence[Clip]) -> dict[str, float]:
    """AbsRel of the first frames after a cut, from each clip to the next one."""
    figures = {}
    for name, config in (("reset", None), ("no_reset", BLIND)):
        absrel = []
        for clip, following in zip(found, [*found[1:], found[0]], strict=True):
            frames = [clip.moving[-1], *following.moving[:AFTER_CUT]]
            absrel.append(run(DepthStream(pipeline, config), frames).absrel[1:])
        for number, values in enumerate(zip(*absrel, strict=True)):
            figures[f"cut.{name}.absrel_{number}"] = statistics.fmean(values)
    return figures


def _tables(figures: dict[str, float]) -> str:
    facts = f"`{command()}`\non {hardware()}:"
    methods = [
        [title, *(f"{figures[f'{name}.{key}']:.3g}" for key in COLUMNS)]
        for name, title in METHODS.items()
    ]
    after = [
        [title, *(f"{figures[f'cut.{name}.absrel_{n}']:.3g}" for n in range(AFTER_CUT))]
        for name, title in (("reset", "begun anew"), ("no_reset", "gone on"))
    ]
    rates = [
        [title, f"{figures[f'cut.{name}']:.3g}"]
        for name, title in (
            ("false_motion", "frames of a moving camera taken for a cut"),
            ("false_motion_x4", "the same, four times as fast"),
            ("false_motion_x8", "the same, eight times as fast"),
            ("false_exposure", "exposure halved to doubled, taken for a cut"),
            ("missed_scenes", "cuts to another scene missed"),
            ("missed_views", "cuts to another view of the scene missed"),
        )
    ]
    cuts = ["AbsRel after a cut", *(f"frame {n + 1}" for n in range(AFTER_CUT))]
    tables = (
        markdown_table(["", *COLUMNS.values()], methods),
        markdown_table(cuts, after),
        markdown_table(["", "share"], rates),
    )
    return "\n\n".join([facts, *tables])


if __name__ == "__main__":
    main()
