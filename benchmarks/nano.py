"""How good and how fast nano is: `python benchmarks/nano.py --json FILE`.

On the 500 held-out scenes, one 320 x 240 view each: AbsRel, delta1 and flying pixels of the
sampled depth at the camera's size, beside those of its discriminative twin (the prompt's own
depth head, upsampled in the same way, `twin_...`) and of the prompt's mixture head at its most
probable component (`mixture_...`), and once more at model size (`model_...`, `twin_model_...`,
`mixture_model_...`); `truth_...` is the training target of that size, upsampled: what the size
alone costs. Then the whole pipeline's frames a second, point cloud included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from held_out import FRAMES, held_out_batches, make_held_out
from predict import (
    has_mixture,
    model_images,
    regressed,
    regressed_mode,
    sampled,
    target_depth,
    upsampled,
)
from scores import Scores
from torch import Tensor
from tqdm import tqdm

from ppd_core import DepthPipeline
from ppd_core.bench.report import hardware, print_figures, write_report
from ppd_core.weights import packaged_checkpoint

CAMERA_RADIUS_PX = 3
"""Of the edge measures at the camera's size: the model's 2 px, in the camera's smaller pixels."""
WARM_UP_CALLS = 5


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    pipeline = DepthPipeline.from_pretrained(args.checkpoint, device=args.device)
    make_held_out(args.held_out, args.limit, args.processes)
    area = args.processing_area or pipeline.config.preprocess.processing_area
    effort = (args.num_steps, area)
    figures = quality(pipeline, args.held_out, args.limit, args.batch_size, *effort)
    figures["fps_320x240"] = frames_per_second(pipeline, args.held_out, args.calls, *effort)
    figures |= size(pipeline, args.checkpoint)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--checkpoint",
        default="nano",
        metavar="FILE",
        help="file written by save_pretrained, or a preset's name (default: nano)",
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
    parser.add_argument("--num-steps", type=int, metavar="N", help="(default: the model's own)")
    parser.add_argument("--processing-area", type=int, metavar="PX", help="(default: its own)")
    parser.add_argument("--calls", type=int, default=60, metavar="N", help="timed calls")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args(argv)


def quality(
    pipeline: DepthPipeline,
    folder: Path,
    frames: int,
    batch_size: int,
    num_steps: int | None,
    processing_area: int,
) -> dict[str, float]:
    """Every score of nano, and by prefix those of others; `model_` at model size."""
    methods: dict[str, Callable[[DepthPipeline, Tensor], Tensor]] = {
        "": partial(sampled, num_steps=num_steps),
        "twin_": regressed,
    }
    if has_mixture(pipeline):
        methods["mixture_"] = regressed_mode
    at_camera = {prefix: Scores(CAMERA_RADIUS_PX) for prefix in (*methods, "truth_")}
    at_model = {prefix: Scores() for prefix in methods}
    with tqdm(total=frames, unit="frame") as progress:
        for batch in held_out_batches(folder, frames, batch_size):
            images = model_images(batch.images, processing_area)
            truth = batch.truth_at(*images.shape[-2:])
            fields = {prefix: predict(pipeline, images) for prefix, predict in methods.items()}
            for prefix, relative in fields.items():
                at_model[prefix].add(relative, *truth)
            fields["truth_"] = target_depth(*truth[:2])
            for prefix, relative in fields.items():
                full = upsampled(relative, *batch.depth.shape[-2:])
                at_camera[prefix].add(full, batch.depth, batch.valid_mask, batch.intrinsics)
            progress.update(len(batch.images))
    return {
        f"{prefix}{infix}{name}": value
        for infix, scores in (("", at_camera), ("model_", at_model))
        for prefix, one in scores.items()
        for name, value in one.figures().items()
    }


def frames_per_second(
    pipeline: DepthPipeline,
    folder: Path,
    calls: int,
    num_steps: int | None,
    processing_area: int,
) -> float:
    """Of the whole pipeline, one frame a call, with points: 1 / the median time of a call."""
    batch = next(held_out_batches(folder, 1, 1))
    seconds = []
    for call in range(WARM_UP_CALLS + calls):
        start = time.perf_counter()
        result = pipeline(
            batch.images[0],
            intrinsics=batch.intrinsics[0],
            num_steps=num_steps,
            processing_area=processing_area,
        )
        assert result.points is not None
        result.points.cpu()  # the call returns before a GPU has finished
        if call >= WARM_UP_CALLS:
            seconds.append(time.perf_counter() - start)
    return 1 / statistics.median(seconds)


def size(pipeline: DepthPipeline, checkpoint: str) -> dict[str, float]:
    """Parameters of both networks, in millions, and their file, in megabytes."""
    parameters = sum(parameter.numel() for parameter in pipeline.models.parameters())
    path = packaged_checkpoint(checkpoint) or Path(checkpoint)
    size_bytes = path.stat().st_size if path.is_file() else 2 * parameters  # as fp16
    return {"parameters_m": parameters / 1e6, "weights_mb": size_bytes / 1e6}


if __name__ == "__main__":
    main()
