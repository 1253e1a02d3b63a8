"""`ppd train`: train a model as a config says."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EPILOG = """\
what is written into DIR:
  step-0001000/         checkpoint, complete or not there; in it pipeline.safetensors (objective
                        flow), which `ppd depth --model` reads, or prompt.safetensors (objective
                        regression), for prompt_checkpoint
  log.jsonl             a line of figures every log_every steps, and after each validation
  tensorboard/          the same with pictures, for `tensorboard --logdir DIR`

  Several GPUs or machines: accelerate launch -m ppd_core.cli train CONFIG -o DIR

exit status: 0 done, 1 the run failed, 2 wrong usage or config, 130 and 143 interrupted (Ctrl-C,
SIGTERM) after a checkpoint
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `train` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "train",
        help="train a model",
        description="Train a model as CONFIG (YAML, see config/train/) says.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder (default: the config's output)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on after the newest checkpoint in DIR, if any"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="stop after step N already")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of the config, e.g. optimizer.lr=1e-3; may come several times",
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number > 0, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status, as the help tells.
    """
    from ppd_core.training.config_file import load_config

    try:
        config = load_config(args.config, args.changes)
        output = args.output or config.output
        if output is None:
            raise ValueError("the run needs a folder: -o DIR, or output in the config")
    except ValueError as error:
        print(f"ppd train: {error}", file=sys.stderr)
        return 2
    try:
        from ppd_core.training.train import train
    except ImportError as error:
        print(f"ppd train needs `pip install 'ppd_ros[train]'`: {error}", file=sys.stderr)
        return 2
    try:
        signal_number = train(config, output, resume=args.resume, limit=args.limit)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"ppd train: {error}", file=sys.stderr)
        return 1
    return 128 + signal_number if signal_number else 0
