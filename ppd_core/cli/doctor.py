"""`ppd doctor`: what is installed here, and whether the networks compute right on it."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppd_core.config import BACKEND_NAMES, PRESETS

if TYPE_CHECKING:
    import torch

    from ppd_core.doctor import Examined
    from ppd_core.machine_facts import Facts

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

WIDTH = 99
_EPILOG = """\
what is looked at, of each precision and backend of each device, with a small picture:
  check   how far it is off: of half precision the worst operation beside float32, of graph the
          depth beside eager's
  bound   what rounding explains
  depth   how far the depth is from eager's in float32, relatively
  ms      of a frame of 128 x 96
  first   seconds of the first one; graph compiles in it, and is quicker the next time

exit status: 0 all is well, 1 something is computed wrongly, fails, or a weight file is damaged;
2 wrong usage or nothing could run, 130 interrupted
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `doctor` to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "doctor",
        help="what is installed here, and whether it computes right; begin a bug report with it",
        description="Tell versions, devices, compilers, ROS and weights, and check the networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="nano",
        metavar="NAME|PATH",
        help=f"{', '.join(PRESETS)} or a checkpoint file (default: %(default)s)",
    )
    parser.add_argument(
        "--weights-dir", type=Path, metavar="DIR", help="folder of the published weights"
    )
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, ... (default: the CPU and all CUDA devices)"
    )
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=BACKEND_NAMES,
        help="how the networks are run; graph has to compile, a minute for each precision on a "
        "CPU (default: all, graph on a CPU in the precisions that it has units for)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it, flat")


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 all is well, 1 something is wrong, 2 nothing could run; the reason is a
        line on stderr.
    """
    from ppd_core.doctor import WRONG, examine
    from ppd_core.machine_facts import DAMAGED, all_facts
    from ppd_core.registry import WeightsError
    from ppd_core.threads import set_threads

    set_threads()
    try:
        devices = _devices(args.device)
    except ValueError as error:
        print(f"ppd doctor: {error}", file=sys.stderr)
        return 2
    sections = all_facts(args.weights_dir)
    for section, facts in sections.items():
        print(_section_text(section, facts))
    print(f"{args.model}, 128 x 96, by device, precision and backend", flush=True)
    print(_row("", "check", "bound", "depth", "ms", "first", ""))
    examined: list[Examined] = []
    try:
        for device in devices:
            for one in examine(
                args.model, device, backends=args.backend, weights_dir=args.weights_dir
            ):
                print(_examined_text(one), flush=True)
                examined.append(one)
    except WeightsError as error:
        print(f"ppd doctor: {error}", file=sys.stderr)
        return 2
    wrong = [f"{one.name}: {one.why}" for one in examined if one.status == WRONG]
    wrong += [
        f"weights {name} are not the published file"
        for name, fact in sections["weights"].items()
        if fact.startswith(DAMAGED)
    ]
    print("\n".join(f"WRONG: {one}" for one in wrong) if wrong else "all is well")
    if args.json is not None and not _write(args.json, _flat(sections, examined, wrong)):
        return 2
    return 1 if wrong else 0


def _devices(name: str | None) -> list[torch.device]:
    import torch

    from ppd_core.device import resolve_device

    if name is not None:
        return [resolve_device(name)]
    cuda = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [torch.device("cpu"), *cuda]


def _section_text(section: str, facts: Facts) -> str:
    width = max(map(len, facts))
    lines = [section]
    for name, fact in facts.items():
        indent = " " * (width + 4)
        first = f"  {name:{width}}  {fact}"
        lines.append(textwrap.fill(first, WIDTH, subsequent_indent=indent, break_long_words=False))
    return "\n".join(lines) + "\n"


def _row(name: str, *cells: str) -> str:
    check, bound, depth, ms, first, status = cells
    row = f"  {name:21}{check:>9}{bound:>9}{depth:>9}{ms:>9}{first:>8}  {status}"
    return row.rstrip()


def _examined_text(one: Examined) -> str:
    numbers = [
        "-" if value is None else f"{value:.{digits}}"
        for value, digits in (
            *((one.error, "1e"), (one.bound, "1e"), (one.depth_error, "1e")),
            *((one.ms, "1f"), (one.start_s, "1f")),
        )
    ]
    row = _row(one.name, *numbers, one.status)
    if not one.why:
        return row
    return f"{row}\n" + textwrap.fill(
        one.why, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
    )


def _flat(
    sections: dict[str, Facts], examined: list[Examined], wrong: list[str]
) -> dict[str, Any]:
    """One object: facts by their names (of weights "weights.NAME"), then "check.NAME.FIELD"."""
    values: dict[str, Any] = {"ok": not wrong, "wrong": wrong}
    for section, facts in sections.items():
        prefix = "weights." if section == "weights" else ""
        values |= {prefix + name: fact for name, fact in facts.items()}
    for one in examined:
        fields = ("status", "error", "bound", "depth_error", "ms", "start_s", "why")
        values |= {f"check.{one.name}.{field}": getattr(one, field) for field in fields}
    return values


def _write(path: Path, values: dict[str, Any]) -> bool:
    from ppd_core.atomic_file import atomic_write

    # JSON knows no infinite numbers.
    finite = {k: str(v) if v == float("inf") else v for k, v in values.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(json.dumps(finite, indent=2, allow_nan=False).encode() + b"\n")
    except OSError as error:
        print(f"ppd doctor: cannot write {path}: {error.strerror}", file=sys.stderr)
        return False
    return True
