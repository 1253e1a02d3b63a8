"""The `ppd` command: one module a subcommand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ppd_core.cli import bag, bench, depth, doctor, export, sim, train, view, weights
from ppd_core.cli import eval as evaluation
from ppd_core.output_streams import escape_unknown_letters
from ppd_core.version import __version__

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ppd`.

    Args:
        argv: the words after `ppd`; default the process's own.

    Returns:
        The exit status: 0 all went well, 1 something failed, 2 wrong usage or nothing could run,
        130 interrupted.
    """
    escape_unknown_letters()
    parser = argparse.ArgumentParser(
        prog="ppd", description="Pixel-Perfect Depth: depth without flying pixels."
    )
    parser.add_argument("--version", action="version", version=f"ppd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs = {}
    modules = {
        "bag": bag,
        "bench": bench,
        "depth": depth,
        "doctor": doctor,
        "eval": evaluation,
        "export": export,
        "sim": sim,
        "train": train,
        "view": view,
        "weights": weights,
    }
    for name, module in modules.items():
        module.add_parser(subparsers)
        runs[name] = module.run
    try:
        args = parser.parse_args(argv)
        return runs[args.command](args)
    except SystemExit as stop:  # argparse ends so after --help, --version and wrong usage
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("ppd: interrupted", file=sys.stderr)
        return INTERRUPTED
