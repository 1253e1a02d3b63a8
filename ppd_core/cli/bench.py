"""`ppd bench`: how fast a model runs here, and how near that is to what the machine could."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.config import BACKEND_NAMES, PRESETS

if TYPE_CHECKING:
    from ppd_core.bench.run import Measured, Plan
    from ppd_core.bench.subject import Model
    from ppd_core.config import PipelineConfig

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DTYPE_NAMES = ("float32", "bfloat16", "float16", "float8")
BASE_NAMES = ("eager-autocast", "eager-autocast-bf16")
SWEEPS = ("pixels", "steps", "batch")

_EPILOG = """\
what is measured, of each precision, backend, size, number of steps and of images:
  p50 ms, p95 ms   a whole frame of the size of the model, image in, depth out
  frames/s         images in the median time
  TFLOP/s          arithmetic of the networks over the median time
  of ceiling       the same over what a large matrix product reaches here in that precision
  peak MB          weights and the most that a frame takes: torch's memory on CUDA; on the CPU
                   weights and growth of the process, so roughly
  start s          loading (with --random: making) the weights, and the first frame
  x eager-autocast how many times as fast as the published code's way of running: float32 weights
                   under autocast, every step anew. It takes bfloat16 on newer GPUs, else float16,
                   which CPUs are slow at: there eager-autocast-bf16 is the fairer one

  All that run on one size take turns, so that other work on the machine hits them alike.

examples:
  ppd bench                                               nano, here, now
  ppd bench --model ppd-da2 --random --size 1024x768 640x480 --steps 1 4
  ppd bench --sweep steps                                 what one more step costs

exit status: 0 done, 1 a part of it could not run, 2 wrong usage or nothing could run, 130
interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `bench` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "bench",
        help="how fast a model runs here",
        description="Time a model: latency, throughput, memory, share of the hardware's ceiling.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="nano",
        metavar="NAME|PATH",
        help=f"{', '.join(PRESETS)} or a checkpoint file (default: %(default)s)",
    )
    model.add_argument(
        "--random",
        action="store_true",
        help="make the weights at random; the cost does not depend on their values",
    )
    model.add_argument(
        "--weights-dir", type=Path, metavar="DIR", help="folder of the published weights"
    )
    model.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)")
    _add_axes(parser.add_argument_group("what to time; each may be several"))
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="of timed frames, of each row; three frames at least, one where it takes a minute "
        "(default: 5)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")


def _add_axes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--size",
        nargs="+",
        type=_size,
        metavar="WxH",
        help="of image and model, sides multiples of 16 (default: the model's, 4:3)",
    )
    group.add_argument(
        "--steps", nargs="+", type=int, metavar="N", help="of a frame (default: the model's)"
    )
    group.add_argument(
        "--batch", nargs="+", type=int, metavar="N", help="images together (default: 1)"
    )
    group.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPE_NAMES,
        help="of the networks (default: float32 on the CPU, else half precision)",
    )
    group.add_argument(
        "--backend",
        nargs="+",
        choices=BACKEND_NAMES,
        help="how the networks are run (default: eager, and what `ppd depth` takes here)",
    )
    group.add_argument(
        "--base",
        nargs="*",
        choices=BASE_NAMES,
        metavar="NAME",
        help=f"what to compare with, any of {', '.join(BASE_NAMES)}, or nothing "
        "(default: the first, on the CPU both)",
    )
    group.add_argument(
        "--sweep",
        choices=SWEEPS,
        help="several pixels (a quarter to twice the size), steps (1 to 8) or batches (1 to 4), "
        "and how the cost grows",
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be WxH like 640x480, got {text!r}")
    return int(match[1]), int(match[2])


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 done, 1 a part of it could not run, 2 nothing could; each reason is a
        line on stderr.
    """
    from ppd_core.bench.figures import figures_of
    from ppd_core.bench.report import hardware, versions, write_report
    from ppd_core.bench.run import run as run_plan
    from ppd_core.weights import WeightsError

    try:
        plan = _plan(args)
        measured = run_plan(plan, _say)
    except WeightsError as error:
        _say(f"{error}; or give --random")
        return 2
    except ValueError as error:
        _say(str(error))
        return 2
    figures = figures_of(measured)
    if args.random:
        print("weights made at random: they cost what trained ones do")
    print(_tables(measured, figures), hardware(), versions(), sep="\n")
    if args.json is not None:
        try:
            write_report(args.json, figures)
        except OSError as error:
            _say(f"cannot write {args.json}: {error.strerror}")
            return 2
    return 1 if measured.left_out else 0


def _say(message: str) -> None:
    print(f"ppd bench: {' '.join(message.split())}", file=sys.stderr)


def _plan(args: argparse.Namespace) -> Plan:
    from ppd_core.bench.configuration import (
        default_backends,
        default_bases,
        ways,
        workloads,
    )
    from ppd_core.bench.run import DEFAULT_SECONDS, Plan
    from ppd_core.bench.subject import Model
    from ppd_core.device import DTYPES, resolve_device, resolve_dtype

    device = resolve_device(args.device)
    model = Model(args.model, device, args.random, args.weights_dir)
    names = args.dtype
    dtypes = [DTYPES[name] for name in names] if names else [resolve_dtype(None, device)]
    bases = default_bases(device) if args.base is None else args.base
    return Plan(
        model,
        ways(dtypes, args.backend or default_backends(device), bases),
        workloads(*_axes(args, model)),
        DEFAULT_SECONDS if args.seconds is None else args.seconds,
    )


def _axes(
    args: argparse.Namespace, model: Model
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Sizes, steps and batches."""
    from ppd_core.bench.sweep import SWEPT_BATCHES, SWEPT_STEPS, scaled_sizes

    given = {"pixels": args.size, "steps": args.steps, "batch": args.batch}
    if args.sweep and len(given[args.sweep] or ()) > (args.sweep == "pixels"):
        option = "--size" if args.sweep == "pixels" else f"--{args.sweep}"
        raise ValueError(f"--sweep {args.sweep} chooses them itself, got {option}, too")
    config = model.config()
    sizes = args.size or [default_size(config)]
    steps, batches = args.steps or [config.sampler.num_steps], args.batch or [1]
    if args.sweep == "pixels":
        sizes = scaled_sizes(*sizes[0])
    elif args.sweep == "steps":
        steps = list(SWEPT_STEPS)
    elif args.sweep == "batch":
        batches = list(SWEPT_BATCHES)
    return sizes, steps, batches


def default_size(config: PipelineConfig) -> tuple[int, int]:
    """(width, height) of what a 4:3 camera's image is brought to."""
    from ppd_core.preprocess import model_size

    height, width = model_size(3, 4, config.preprocess.processing_area)
    return width, height


def _tables(measured: Measured, figures: dict[str, float]) -> str:
    from ppd_core.bench import table

    names = [subject.configuration.name for subject in measured.subjects]
    stages = list(dict.fromkeys(s for subject in measured.subjects for s in subject.stages_s))
    return "\n".join(
        [
            table.as_text(table.main_table(figures, names)),
            "",
            table.as_text(table.stage_table(figures, names, stages)),
            "",
            *table.ceiling_lines(figures),
            *table.growth_lines(figures),
            *table.fact_lines(measured.facts),
        ]
    )
