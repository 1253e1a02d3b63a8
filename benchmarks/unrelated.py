"""Metres from a sensor that has nothing to do with the image: `python benchmarks/unrelated.py`.

Five kinds of such a sensor go with the held-out scenes through a `FrameAligner`, tracking and
holding included: a frame that gets metres is a false one. Beside it the same without the
comparison of edges, and what that costs: good frames that are refused. Scenes come again through
a smaller window.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from alignment import frames_of
from held_out import make_held_out
from results_table import markdown_table, replace_between_markers
from static_scene import CONFIG, RATE_HZ, Frame
from torch import Tensor
from tqdm import tqdm

from ppd_core import AlignmentConfig, DepthPipeline
from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.bench.report import command, hardware, print_figures, write_report

SCENES, FRAMES = 500, 10_000
WRONG = 0.1
"""Metres that are off by more, in the median over the image, are wrong."""
CROP = 0.75
WITHOUT = replace(CONFIG, min_edge_correlation=-1.0)

Sensor = Callable[[Sequence[Frame], int, torch.Generator], Tensor]


def own(frames: Sequence[Frame], index: int, generator: torch.Generator) -> Tensor:
    """What the sensor saw of the scene."""
    return frames[index].sensor


def shuffled(frames: Sequence[Frame], index: int, generator: torch.Generator) -> Tensor:
    """The sensor's pixels in another order."""
    sensor = frames[index].sensor
    return sensor.flatten()[torch.randperm(sensor.numel(), generator=generator)].view_as(sensor)


def of_another_scene(frames: Sequence[Frame], index: int, generator: torch.Generator) -> Tensor:
    """What the sensor saw elsewhere."""
    step = int(torch.randint(1, len(frames), (), generator=generator))
    return frames[(index + step) % len(frames)].sensor


def mirrored(frames: Sequence[Frame], index: int, generator: torch.Generator) -> Tensor:
    """Left and right exchanged."""
    return frames[index].sensor.flip(1)


def noise(low_m: float, high_m: float) -> Sensor:
    """Each pixel by itself anywhere between."""

    def sense(frames: Sequence[Frame], index: int, generator: torch.Generator) -> Tensor:
        values = torch.rand(frames[index].sensor.shape, generator=generator)
        return low_m + (high_m - low_m) * values

    return sense


KINDS: dict[str, Sensor] = {
    "shuffled": shuffled,
    "another_scene": of_another_scene,
    "mirrored": mirrored,
    "noise_2_4_m": noise(2.0, 4.0),
    "noise_0.3_10_m": noise(0.3, 10.0),
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", metavar="FILE", help="default: nano")
    parser.add_argument("--held-out", type=Path, default=Path("out/held_out"), metavar="DIR")
    parser.add_argument("--scenes", type=int, default=SCENES, metavar="N")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="of each kind")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page to fill in")
    args = parser.parse_args(argv)
    make_held_out(args.held_out, args.scenes, args.processes)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device="cpu")
    frames = list(tqdm(frames_of(pipeline, args.held_out, args.scenes), total=args.scenes))
    figures = measured(frames, args.frames)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        replace_between_markers(args.markdown, "unrelated", table(figures))


def measured(frames: Sequence[Frame], count: int) -> dict[str, float]:
    """Shares of the frames of each kind that get metres, and that get wrong ones.

    Args:
        frames: at least two scenes.
        count: frames of each kind; of good ones each scene once.
    """
    good, good_wrong = _published("own", frames, own, len(frames), replace(CONFIG, hold_s=0.0))
    before, _ = _published("own", frames, own, len(frames), replace(WITHOUT, hold_s=0.0))
    figures = {"good": good, "good_wrong": good_wrong, "good_before": before}
    for name, sense in KINDS.items():
        figures[name], figures[f"{name}_wrong"] = _published(name, frames, sense, count, CONFIG)
        figures[f"{name}_before"], _ = _published(name, frames, sense, len(frames), WITHOUT)
    return figures


def _published(
    name: str, frames: Sequence[Frame], sense: Sensor, count: int, config: AlignmentConfig
) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(0)
    aligner = FrameAligner(config)
    published = wrong = 0
    for number in tqdm(range(count), desc=name, unit="frame"):
        index = number % len(frames)
        frame, sensor = frames[index], sense(frames, index, generator)
        if number >= len(frames):
            frame, sensor = _window(frame, sensor, generator)
        anchors = depth_anchors(sensor, *frame.truth.shape, config)
        aligned = aligner.align(frame.relative, anchors, number / RATE_HZ, image=frame.image)
        if aligned.metric_depth is not None:
            published += 1
            error = (aligned.metric_depth - frame.truth).abs() / frame.truth
            wrong += error[frame.valid_mask].nan_to_num(torch.inf).median().item() > WRONG
    return published / count, wrong / count


def _window(frame: Frame, sensor: Tensor, generator: torch.Generator) -> tuple[Frame, Tensor]:
    sides = [int(CROP * side) for side in sensor.shape]
    starts = [
        int(torch.randint(0, whole - side + 1, (), generator=generator))
        for whole, side in zip(sensor.shape, sides, strict=True)
    ]
    part = tuple(slice(a, a + side) for a, side in zip(starts, sides, strict=True))
    seen = replace(
        frame,
        image=frame.image[part],
        relative=frame.relative[part],
        truth=frame.truth[part],
        valid_mask=frame.valid_mask[part],
    )
    return seen, sensor[part]


def table(figures: dict[str, float]) -> str:
    """What is published of each kind, with the command."""
    rows = [
        [
            "the scene's own" if name == "good" else name.replace("_", " "),
            *(f"{figures[key]:.4f}" for key in (f"{name}_before", name, f"{name}_wrong")),
        ]
        for name in ("good", *KINDS)
    ]
    head = ["sensor", "frames with metres by the fit alone", "with the comparison of edges"]
    head.append(f"and over {WRONG:.0%} off")
    return f"`{command()}`\non {hardware()}:\n\n{markdown_table(head, rows)}"


if __name__ == "__main__":
    main()
