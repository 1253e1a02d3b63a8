"""How long a start takes, to the first depth: `python benchmarks/startup.py --json FILE`.

Each start is a process of its own; one more, before them, brings the files into memory. `total` is
from the start of the process to the first depth in the host's memory, `second_depth` is what
every frame costs then. With `--backend`, as much again of it: `cold_...` with nothing compiled
kept on disk, `warm_...` with what one start has left there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ppd_core.backends import BACKENDS
from ppd_core.bench.report import hardware, print_figures, write_report
from ppd_core.compile_cache import VARIABLES
from ppd_core.weights import weights_dir

PROCESS = Path(__file__).with_name("startup_process.py")
LONGEST_S = 1800


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the JSON."""
    args = _arguments(argv)
    figures = medians([started(args, None) for _ in range(1 + args.starts)][1:])
    if args.backend is not None:
        for prefix, starts in backend_starts(args).items():
            figures |= {f"{prefix}_{k}": v for k, v in medians(starts).items()}
    print_figures(figures)
    print(hardware())
    if args.json is not None:
        write_report(args.json, figures)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano", help="preset or checkpoint (default: nano)")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--backend", choices=sorted(BACKENDS), help="measure this one, too")
    parser.add_argument("--starts", type=int, default=5, metavar="N", help="of each kind")
    parser.add_argument("--width", type=int, default=640, metavar="PX", help="of the image")
    parser.add_argument("--height", type=int, default=480, metavar="PX")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args(argv)
    if args.starts < 1:
        parser.error(f"--starts must be >= 1, got {args.starts}")
    return args


def started(
    args: argparse.Namespace, backend: str | None, cache: Path | None = None
) -> dict[str, float]:
    """What one process took, part -> seconds.

    Args:
        backend: None is the plain path.
        cache: of compiled kernels, in the place of the user's.
    """
    environment = dict(os.environ)
    if cache is not None:
        environment["PPD_WEIGHTS_DIR"] = str(weights_dir())  # which are in the cache else
        environment["XDG_CACHE_HOME"] = str(cache)
        for variable in VARIABLES:
            environment.pop(variable, None)
    wanted = {name: getattr(args, name) for name in ("model", "device", "width", "height")}
    wanted |= {"threads": args.threads, "backend": backend, "start_s": time.perf_counter()}
    done = subprocess.run(
        [sys.executable, str(PROCESS), json.dumps(wanted)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LONGEST_S,
    )
    return json.loads(done.stdout)


def backend_starts(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Starts of the backend without and with what another start has compiled."""
    starts: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(args.starts):
        with tempfile.TemporaryDirectory() as folder:
            for seconds in starts.values():
                seconds.append(started(args, args.backend, Path(folder)))
    return starts


def medians(starts: list[dict[str, float]]) -> dict[str, float]:
    """Part -> the median of its seconds."""
    return {part: statistics.median(one[part] for one in starts) for part in starts[0]}


if __name__ == "__main__":
    main()
