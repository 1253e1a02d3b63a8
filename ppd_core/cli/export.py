"""`ppd export`: a model as one compiled file, for one image size and step count."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.config import PACKAGE_FORMATS, PRESETS

if TYPE_CHECKING:
    from ppd_core.export import ExportReport

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DTYPES = ("float32", "bfloat16", "float16")

_EPILOG = """\
The package runs where it was made: on the same kind of CPU or GPU, with the same torch. `--model
FILE.pt2` of `ppd depth` and the node's parameter `model` take it. It is a program: loading it runs
native code of the file, so load only packages that you or someone you trust has made.

exit status: 0 written, 1 it does not compile or gives another depth, 2 wrong usage or nothing here
that compiles, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `export` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "export",
        help="compile a model to one file, for one image size and step count",
        description="Compile a model for this machine, for one image size and step count.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help=f"{', '.join(PRESETS)} or a checkpoint file"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.pt2")
    parser.add_argument(
        "--size",
        required=True,
        type=_size,
        metavar="WxH",
        help="of the images, as 640x480; the model's size follows from it",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="network evaluations an image (default: the model's)",
    )
    parser.add_argument(
        "--processing-area",
        type=int,
        metavar="PIXELS",
        help="size at which the model sees the image (default: the model's)",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="B", help="images in a call (default: 1)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the networks (default: float32 on the CPU, else half precision)",
    )
    parser.add_argument(
        "--format",
        choices=PACKAGE_FORMATS,
        default="aoti",
        help="aoti: by torch's own compiler; tensorrt: by torch_tensorrt, to be installed apart "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="folder of the published weights; see `ppd weights list`",
    )


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "WxH"."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be like 640x480, got {text!r}")
    return int(match[2]), int(match[1])


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0, 1 when the export failed, 2 when it could not begin.
    """
    import torch

    from ppd_core.backends.package import is_package
    from ppd_core.device import resolve_device
    from ppd_core.export import ExportError, check_tools, export
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.weights import WeightsError

    height, width = args.size
    try:
        if is_package(args.model):
            raise ValueError(f"MODEL must be what a package is made of, got {args.model}")
        check_tools(resolve_device(args.device), args.format)  # before gigabytes are read
        pipeline = DepthPipeline.from_pretrained(
            args.model,
            device=args.device,
            dtype=getattr(torch, args.dtype) if args.dtype else None,
            backend="eager",
            weights_dir=args.weights_dir,
        )
        model_height, model_width = pipeline.model_size(height, width, args.processing_area)
        print(
            f"{args.model}: image {width} x {height}, model {model_width} x {model_height}, "
            f"{pipeline.dtype} on {pipeline.device}",
            flush=True,
        )
        report = export(
            pipeline,
            args.output,
            height=height,
            width=width,
            num_steps=args.steps,
            processing_area=args.processing_area,
            batch=args.batch,
            format=args.format,
        )
    except (ValueError, WeightsError) as error:
        return _failed(error, 2)
    except ExportError as error:
        return _failed(error, 1)
    _print(args.output, report)
    return 0


def _print(path: Path, report: ExportReport) -> None:
    for name, seconds in report.seconds.items():
        print(f"  {name:8}{seconds:8.2f} s")
    print(
        f"  error   {report.max_error:8.1e} at most, relative {report.relative_error:.1e} "
        f"(may be {report.tolerance:.0e})"
    )
    print(f"{path}: {report.facts.built_for}, {report.size_bytes / 1e6:.1f} MB")


def _failed(error: Exception, status: int) -> int:
    print(f"ppd export: {' '.join(str(error).split())}", file=sys.stderr)
    return status
