"""`ppd eval`: how good the depth of models is, on data sets or on a recording of one's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.config import BACKEND_NAMES

if TYPE_CHECKING:
    from ppd_core.evaluation.measure import AnyModel
    from ppd_core.evaluation.session import Plan, Source

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DTYPES = ("float32", "bfloat16", "float16")

_EPILOG = """\
what is written into OUT:
  report.html     tables, spread of the error, best and worst images, failures: one file
  report.json     the same figures, every failure, versions, command, hardware
  table.csv       a row for each model, data set and protocol
  records/        a line for each image; a run that was ended goes on from there

  Every mean is over the images that were measured; those that failed are counted by reason, listed
  and in no mean, and mark their row with *.

  Under `accelerate launch` or `torchrun` (or with WORLD_SIZE and RANK set) each process measures
  its share of the images; they must share OUT.

examples:
  ppd eval --model nano nano-twin --data simulated=held_out -o out/eval
  ppd eval --model ppd-da2 depth-pro --data nyuv2=/data/nyu --protocol ppd marigold -o out/eval
  ppd eval --steps 1 2 4 --data simulated=held_out --limit 100 -o out/eval
  ppd eval --bag run.mcap --image /camera/image --depth /lidar/depth --estimate /ppd/depth/image \\
           -o out/eval

exit status: 0 all measured, 1 an image or a model failed, 2 wrong usage or nothing could run,
130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `eval` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "eval",
        help="how good the depth of models is",
        description="Measure models on data sets with depth, by the protocols of papers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder")
    _add_model_options(parser.add_argument_group("what is measured"))
    data = parser.add_argument_group("what it is measured on")
    data.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="NAME=ROOT",
        help="data set and its folder; an unknown name lists those there are",
    )
    data.add_argument("--limit", type=int, metavar="N", help="first N images of each alone")
    data.add_argument(
        "--protocol",
        nargs="+",
        default=[],
        metavar="NAME",
        help="how depth is brought to metres: ppd, marigold, disparity, scale, metric (default: "
        "of each model its own)",
    )
    _add_bag_options(parser.add_argument_group("a recording instead of a data set"))
    parser.add_argument(
        "--pictures",
        type=int,
        default=2,
        metavar="N",
        help="best images and worst ones that the report shows of each row (default: %(default)s)",
    )


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="NAME|PATH",
        help="ours, a rival or a checkpoint file; an unknown name lists those there are "
        "(default: nano)",
    )
    group.add_argument(
        "--oracle",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the truth itself through what limits a family of models: vae",
    )
    group.add_argument(
        "--steps",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help="of diffusion models; with several, each is measured with each (default: their own)",
    )
    group.add_argument("--weights-dir", type=Path, metavar="DIR", help="of published weights")
    group.add_argument(
        "--download", action="store_true", help="fetch weights that are missing from the hub"
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)")
    group.add_argument("--dtype", choices=DTYPES, help="of the networks (default: the models')")
    group.add_argument(
        "--backend", choices=BACKEND_NAMES, help="how our own models run (default: graph on CUDA)"
    )


def _add_bag_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--bag", type=Path, metavar="FILE", help="rosbag2 folder, .mcap or .bag")
    group.add_argument("--image", metavar="TOPIC", help="what models see")
    group.add_argument("--depth", metavar="TOPIC", help="depth image that counts as the truth")
    group.add_argument("--estimate", metavar="TOPIC", help="depth image to measure, as a model")
    group.add_argument(
        "--camera-info", metavar="TOPIC", help="calibration (default: beside --image)"
    )
    group.add_argument(
        "--tolerance",
        type=float,
        default=0.02,
        metavar="S",
        help="seconds between the stamps of a pair, where none are equal (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status, as the help tells.
    """
    from ppd_core.evaluation import table
    from ppd_core.evaluation.ranks import Ranks
    from ppd_core.evaluation.session import HTML_NAME, evaluate_all
    from ppd_core.threads import set_threads

    set_threads()
    try:
        ranks = Ranks.from_environment()
        plan = _plan(args, ranks.device_name(args.device))
        _make_folder(args.output)
        outcome = evaluate_all(plan, args.output, ranks, _say)
    except (ValueError, ImportError, TimeoutError) as error:
        _say(str(error))
        return 2
    if len(outcome.problems) == len(plan.models):
        return 2
    if not ranks.is_main:
        return 0
    print(table.as_text(outcome.all_rows))
    print(args.output / HTML_NAME)
    has_failures = any(row.failed for row in outcome.all_rows)
    return 1 if has_failures or outcome.problems else 0


def _say(message: str) -> None:
    print(f"ppd eval: {' '.join(message.split())}", file=sys.stderr)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to folder {folder}: {error.strerror}") from error


def _plan(args: argparse.Namespace, device: str | None) -> Plan:
    from ppd_core.evaluation.session import Plan

    return Plan(_models(args, device), _sources(args), args.protocol, args.limit, args.pictures)


def _models(args: argparse.Namespace, device: str | None) -> dict[str, Callable[[], AnyModel]]:
    """What opens each; names are checked now, so that nothing fails after hours for a typo."""
    import torch

    from ppd_core.evaluation.baselines import MODELS, open_model, takes_steps

    names = [*args.model, *(f"oracle:{name}" for name in args.oracle)]
    if not names and args.estimate is None:
        names = ["nano"]
    unknown = [name for name in names if name not in MODELS and not Path(name).is_file()]
    if unknown:
        raise ValueError(
            f"no such model or checkpoint file: {unknown[0]}; known models: {', '.join(MODELS)}"
        )
    openers: dict[str, Callable[[], AnyModel]] = {}
    for name in names:
        is_own = name not in MODELS or MODELS[name].family == "own"
        for steps in (args.steps or [None]) if takes_steps(name) else [None]:
            openers[name if steps is None else f"{name} with {steps} steps"] = partial(
                open_model,
                name,
                device,
                dtype=getattr(torch, args.dtype) if args.dtype else None,
                download=args.download,
                weights_dir=args.weights_dir,
                num_steps=steps,
                backend=args.backend if is_own else None,
            )
    if args.estimate is not None:
        from ppd_core.evaluation.recorded import RecordedDepth

        openers[args.estimate] = partial(RecordedDepth, args.estimate)
    return openers


def _sources(args: argparse.Namespace) -> list[Source]:
    from ppd_core.data.eval_sets import open_eval_set
    from ppd_core.evaluation.session import Source

    sources = []
    for word in args.data:
        name, equals, root = word.partition("=")
        if not (name and equals and root):
            raise ValueError(f"--data must be NAME=ROOT, as simulated=out/held_out, got {word!r}")
        sources.append(Source(open_eval_set(name, Path(root)), Path(root)))
    if args.bag is not None:
        sources.append(_bag(args))
    elif args.estimate is not None:
        raise ValueError("--estimate needs --bag")
    if not sources:
        raise ValueError("give --data NAME=ROOT, or --bag FILE: there is nothing to measure on")
    return sources


def _bag(args: argparse.Namespace) -> Source:
    from ppd_core.data.bag import open_bag
    from ppd_core.evaluation.session import Source

    if args.image is None or args.depth is None:
        raise ValueError("--bag needs --image TOPIC and --depth TOPIC")
    bag = open_bag(
        args.bag,
        args.image,
        args.depth,
        info_topic=args.camera_info,
        estimate_topic=args.estimate,
        tolerance_s=args.tolerance,
    )
    return Source(bag, args.bag, bag.notes)
