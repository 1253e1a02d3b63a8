"""What a GPU does during a frame: `python benchmarks/frame_profile.py --json FILE`.

Of each backend and size: `frame_ms`, the median time of a frame without a profiler; `busy_ms`, how
long the device computes or copies for one, as torch's profiler has it (what overlaps counts once);
`idle_share`, what of the frame is left; `kernels`, how many there are. Those that take the
longest are printed. On the CPU the same is said of torch's operations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ppd_core.bench.configuration import Configuration, Way, Workload
from ppd_core.bench.report import hardware, print_figures, write_report
from ppd_core.bench.subject import Model, Subject
from ppd_core.config import PRESETS
from ppd_core.device import DTYPES, resolve_device

FRAMES = 10
SHOWN_KERNELS = 12


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON after each size."""
    args = _arguments(argv)
    model = Model(args.model, resolve_device(args.device), bool(PRESETS[args.model].weights))
    figures: dict[str, float] = {}
    for backend in args.backend:
        way = Way(backend, DTYPES[args.dtype])
        start = time.perf_counter()
        pipeline, _ = model.build(way)
        load_s = time.perf_counter() - start
        for width, height in args.size:
            workload = Workload(width, height, args.steps)
            subject = Subject(Configuration(way, workload), pipeline, load_s)
            found = figures_of(subject)
            name = subject.configuration.name
            figures |= {f"{name}.{figure}": value for figure, value in found.items()}
            if args.json is not None:
                write_report(args.json, figures)
    print_figures(figures)
    print(hardware())


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="ppd-da2", choices=PRESETS, help="(default: ppd-da2)")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of the networks")
    parser.add_argument("--backend", nargs="+", default=["eager", "graph"], metavar="NAME")
    parser.add_argument(
        "--size", nargs="+", type=_size, default=[(640, 480), (1024, 768)], metavar="WxH"
    )
    parser.add_argument("--steps", type=int, default=4, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args(argv)


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def figures_of(subject: Subject) -> dict[str, float]:
    """Of frames that nothing is compiled for any more."""
    subject.warm_up()
    for _ in range(FRAMES):
        subject.time_frame()
    frame_s = statistics.median(subject.frame_s)
    on_cuda = subject.pipeline.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as seen:
        subject.time_frame()
    wanted = DeviceType.CUDA if on_cuda else DeviceType.CPU
    kernels = [one for one in seen.events() if one.device_type == wanted]
    busy_s = covered([(one.time_range.start, one.time_range.end) for one in kernels]) / 1e6
    _print_longest(subject.configuration.name, kernels)
    return {
        "frame_ms": 1e3 * frame_s,
        "busy_ms": 1e3 * busy_s,
        "idle_share": max(0.0, 1 - busy_s / frame_s),
        "kernels": len(kernels),
    }


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """How much of a line the intervals cover together."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _print_longest(name: str, kernels: list[torch.autograd.profiler_util.FunctionEvent]) -> None:
    times: Counter[str] = Counter()
    for kernel in kernels:
        times[kernel.name] += kernel.time_range.elapsed_us()
    print(f"{name}: the longest kernels, ms a frame")
    for kernel_name, elapsed_us in times.most_common(SHOWN_KERNELS):
        print(f"  {elapsed_us / 1e3:8.3f}  {kernel_name[:100]}")


if __name__ == "__main__":
    main()
