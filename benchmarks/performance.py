"""How fast the models are: `python benchmarks/performance.py SET --json FILE --markdown PAGE`.

A set is what the page documents of one model on one kind of device; `floors` times nothing: it
computes what an H100-class device needs at least. `ppd bench` times anything else. FILE is written
anew whenever there is more, so a run that does not come to its end has left what it measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from results_table import markdown_table, replace_between_markers

from ppd_core.backends import BACKENDS
from ppd_core.bench import table
from ppd_core.bench.configuration import AS_PUBLISHED, IN_BFLOAT16, Workload, ways
from ppd_core.bench.figures import figures_of
from ppd_core.bench.floors import frame_cost, network_cost, prompt_cost
from ppd_core.bench.report import command, hardware, print_figures, versions, write_report
from ppd_core.bench.run import DEFAULT_SECONDS, Measured, Plan, run
from ppd_core.bench.subject import Model
from ppd_core.bench.sweep import scaled_sizes
from ppd_core.config import PRESETS
from ppd_core.device import DTYPES, resolve_device

NANO_SIZE = (128, 96)
REHEARSED_SIZE = (48, 32)
PUBLISHED_SIZES = ((1024, 768), (640, 480), (384, 512))
FLOORS = "floors"
FLOOR_CASES = (*(("ppd-da2", size) for size in PUBLISHED_SIZES), ("nano", NANO_SIZE))
FLOOR_STEPS = (1, 4)
H100_FLOP_PER_S = 989e12
"""Dense bfloat16 of an H100 SXM, nominal: the vendor's data sheet."""
H100_BYTES_PER_S = 3.35e12
"""Its memory, from there, too."""
BFLOAT16_BYTES = 2


@dataclass(frozen=True)
class Set:
    """What a page documents of one model on one kind of device."""

    model: str
    device: str
    dtypes: tuple[str, ...]
    bases: tuple[str, ...]
    workloads: tuple[Workload, ...]


NANO_WORKLOADS = (
    *(Workload(*NANO_SIZE, steps) for steps in (4, 1, 2)),
    *(Workload(*size, 4) for size in scaled_sizes(*NANO_SIZE) if size != NANO_SIZE),
    Workload(*NANO_SIZE, 4, batch=4),
)
PUBLISHED_WORKLOADS = (
    *(Workload(*size, steps) for size in PUBLISHED_SIZES[:2] for steps in (4, 1, 2)),
    *(Workload(*size, 4, batch=4) for size in PUBLISHED_SIZES[:2]),
)
SETS = {
    "nano_cpu": Set(
        "nano", "cpu", ("float32", "bfloat16"), (AS_PUBLISHED, IN_BFLOAT16), NANO_WORKLOADS
    ),
    "ppd_da2_cpu": Set(
        "ppd-da2", "cpu", ("bfloat16",), (AS_PUBLISHED, IN_BFLOAT16), (Workload(384, 512, 4),)
    ),
    "nano_cuda": Set("nano", "cuda", ("bfloat16", "float32"), (AS_PUBLISHED,), NANO_WORKLOADS),
    "ppd_da2_cuda": Set(
        "ppd-da2",
        "cuda",
        ("bfloat16", "float16", "float8"),
        (AS_PUBLISHED,),
        PUBLISHED_WORKLOADS,
    ),
}
"""Name of the set, and of its place in the page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure or compute, print, and write what was asked for; 1 where a way failed."""
    args = _arguments(argv)
    if args.set == FLOORS:
        figures = floor_figures()
        print_figures(figures)
        if args.json is not None:
            write_report(args.json, figures)
        if args.markdown is not None:
            made = f"{floor_table(figures)}\n\nMade by `{command()}`."
            replace_between_markers(args.markdown, FLOORS, made)
        return 0

    def write(measured: Measured) -> None:
        if args.json is not None:
            write_report(args.json, figures_of(measured))

    plan = plan_of(SETS[args.set], args)
    measured = run(plan, lambda what: print(what, file=sys.stderr), write)
    figures = figures_of(measured)
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        # Of the figures as they were rounded: the page then agrees with the file.
        figures = _figures_in(args.json)
    if args.markdown is not None:
        replace_between_markers(args.markdown, args.set, page_of(measured, figures))
    return int(bool(measured.left_out))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("set", choices=[FLOORS, *SETS], help="what to measure")
    parser.add_argument(
        "--backend", nargs="+", default=list(BACKENDS), metavar="NAME", help="(default: all)"
    )
    parser.add_argument(
        "--dtype", nargs="+", choices=DTYPES, help="of the networks (default: the set's)"
    )
    parser.add_argument(
        "--base",
        nargs="+",
        choices=[AS_PUBLISHED, IN_BFLOAT16],
        help="to compare with (default: the set's; each has float32 weights of its own)",
    )
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help="of each row"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="fill in its table")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="the same ways, steps and batches, but of nano, "
        f"{REHEARSED_SIZE[0]} x {REHEARSED_SIZE[1]}, on the CPU",
    )
    return parser.parse_args(argv)


def plan_of(of: Set, args: argparse.Namespace) -> Plan:
    """The set's, with weights made at random where the model has published ones."""
    if args.rehearse:
        of = rehearsed(of)
    is_random = bool(PRESETS[of.model].weights)
    dtypes: list[torch.dtype] = [DTYPES[name] for name in args.dtype or of.dtypes]
    return Plan(
        Model(of.model, resolve_device(of.device), is_random),
        ways(dtypes, args.backend, args.base or of.bases),
        of.workloads,
        args.seconds,
    )


def rehearsed(of: Set) -> Set:
    """The set at almost no cost, on any machine: what runs is alike, the figures say nothing.

    The base computes in bfloat16, as it does on CUDA: a CPU's float16 would take most of the time.
    """
    width, height = REHEARSED_SIZE
    small = dict.fromkeys(replace(one, width=width, height=height) for one in of.workloads)
    return replace(of, model="nano", device="cpu", bases=(IN_BFLOAT16,), workloads=tuple(small))


def page_of(measured: Measured, figures: Mapping[str, float]) -> str:
    """What the page tells of a set."""
    configurations = [subject.configuration for subject in measured.subjects]
    names = [configuration.name for configuration in configurations]
    first = configurations[0].workload
    # Where the time goes is told of one size; the report has the others, too.
    of_stages = [
        configuration.name
        for configuration in configurations
        if (configuration.workload.size, configuration.workload.batch) == (first.size, 1)
    ]
    stages = list(dict.fromkeys(s for subject in measured.subjects for s in subject.stages_s))
    tables = [table.main_table(figures, names), table.stage_table(figures, of_stages, stages)]
    lines = [*table.ceiling_lines(figures), *table.growth_lines(figures)]
    lines += table.fact_lines(measured.facts)
    return "\n\n".join(
        [
            *(markdown_table(header, rows) for header, *rows in tables),
            "\n".join(f"* {line}" for line in lines),
            f"Made by `{command()}`; {hardware()}; {versions()}.",
        ]
    )


def floor_figures() -> dict[str, float]:
    """Arithmetic and bytes of the cases, and the time that each alone takes on an H100."""
    figures = {}
    for name, (width, height) in FLOOR_CASES:
        config = PRESETS[name]
        size = f"{name}.{width}x{height}"
        step, prompt = (
            network_cost(config.model, height, width),
            prompt_cost(config.prompt, height, width),
        )
        figures[f"{size}.step_tflop"] = step.flop / 1e12
        figures[f"{size}.prompt_tflop"] = prompt.flop / 1e12
        for steps in FLOOR_STEPS:
            frame = frame_cost(config, height, width, steps)
            moved = frame.bytes_moved(BFLOAT16_BYTES)
            prefix = f"{size}.{steps}"
            figures[f"{prefix}.tflop"] = frame.flop / 1e12
            figures[f"{prefix}.arithmetic_ms"] = 1e3 * frame.flop / H100_FLOP_PER_S
            figures[f"{prefix}.gigabytes"] = moved / 1e9
            figures[f"{prefix}.bytes_ms"] = 1e3 * moved / H100_BYTES_PER_S
    return figures


def floor_table(figures: Mapping[str, float]) -> str:
    """A row a case and number of steps."""
    header = ["model, size", "steps", "TFLOP", "arithmetic, ms", "GB in bfloat16", "bytes, ms"]
    keys = ("tflop", "arithmetic_ms", "gigabytes", "bytes_ms")
    rows = [
        [
            f"{name}, {width} x {height}",
            str(steps),
            *(f"{figures[f'{name}.{width}x{height}.{steps}.{key}']:.3g}" for key in keys),
        ]
        for name, (width, height) in FLOOR_CASES
        for steps in FLOOR_STEPS
    ]
    return markdown_table(header, rows)


def _figures_in(path: Path) -> dict[str, float]:
    content = json.loads(path.read_text())
    return {name: value for name, value in content.items() if isinstance(value, float)}


if __name__ == "__main__":
    sys.exit(main())
