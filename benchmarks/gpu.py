"""All that is to be asked of a GPU, in at most nine minutes: `make gpu`.

Stages in processes of their own, each under a limit of its own: `ppd doctor`, the tests that need
a GPU, how fast the published network and nano are beside the published way of running, how far
each precision is from float32, how long a start takes, and what the GPU does during a frame. Their
figures lie in `benchmarks/results/` as soon as there are any, `gpu.json` there says how each stage
ended, and what it said is in `out/gpu/`.

`--rehearse` runs the same stages on the CPU, with nano and the smallest images, all into
`out/rehearsal/`: what passes there fails on a GPU at nothing but the GPU.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stages import Stage, run_stages

from ppd_core.stop_signals import tidy_sigterm

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 540.0
REHEARSAL_LIMIT_S = 1800.0
"""Of each stage: a busy CPU compiles even the smallest model for minutes."""


def main(argv: list[str] | None = None) -> int:
    """Run all stages; 0 where each was done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, at almost no size, into out/rehearsal"
    )
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="these stages (default: all)")
    args = parser.parse_args(argv)
    results = ROOT / ("out/rehearsal" if args.rehearse else "benchmarks/results")
    stages = rehearsal_stages(results) if args.rehearse else gpu_stages(results)
    names = [stage.name for stage in stages]
    if unknown := set(args.only or ()) - set(names):
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    with tidy_sigterm():  # the stage at work ends with us
        ended = run_stages(
            [stage for stage in stages if args.only is None or stage.name in args.only],
            logs=results if args.rehearse else ROOT / "out/gpu",
            summary=results / "gpu.json",
            limit_s=len(stages) * REHEARSAL_LIMIT_S if args.rehearse else LIMIT_S,
        )
    return int(any(one.outcome != "done" for one in ended.values()))


def gpu_stages(results: Path) -> list[Stage]:
    """What a GPU of the class of an H100 does well within the limits, which are 540 s together."""
    page = ROOT / "docs/performance.md"

    def performance(name: str, limit_s: float, *words: str) -> Stage:
        file = results / f"performance_{name}.json"
        return _benchmark(name, limit_s, "performance.py", *words, "--json", file)

    published = ("--dtype", "bfloat16", "float8", "--seconds", "1")
    return [
        _ppd_doctor(60, results, "cuda"),
        _tests(80, "gpu"),
        # The plain path first and alone: it needs no compiler.
        performance("ppd_da2_cuda_eager", 50, "ppd_da2_cuda", *published, "--backend", "eager"),
        performance("ppd_da2_cuda", 130, "ppd_da2_cuda", *published, "--markdown", page),
        performance("nano_cuda", 60, "nano_cuda", "--seconds", "0.5", "--markdown", page),
        _rounding(30, results, "nano", "--device", "cuda"),
        _rounding(50, results, "ppd-da2", "--device", "cuda", "--processing-area", "307200"),
        _startup(40, results, "nano", "--device", "cuda"),
        _profile(40, results, "ppd-da2", "--device", "cuda"),
    ]


def rehearsal_stages(results: Path) -> list[Stage]:
    """The same, of nano."""
    limit_s, page = REHEARSAL_LIMIT_S, results / "performance.md"
    results.mkdir(parents=True, exist_ok=True)
    page.write_text((ROOT / "docs/performance.md").read_text(encoding="utf-8"), encoding="utf-8")

    def performance(name: str, *words: str | Path) -> Stage:
        file = results / f"performance_{name}.json"
        rehearsed = ("--rehearse", "--seconds", "0.01", "--json", file)
        return _benchmark(name, limit_s, "performance.py", *words, *rehearsed)

    published = ("--dtype", "bfloat16", "float8")
    on_cpu = ("--device", "cpu")
    return [
        _ppd_doctor(limit_s, results, "cpu"),
        _tests(limit_s, "gpu"),  # all of them skipped: that they are found is rehearsed
        performance("ppd_da2_cuda_eager", "ppd_da2_cuda", *published, "--backend", "eager"),
        performance("ppd_da2_cuda", "ppd_da2_cuda", *published, "--markdown", page),
        performance("nano_cuda", "nano_cuda", "--markdown", page),
        _rounding(limit_s, results, "nano", *on_cpu, "--processing-area", "1536"),
        _startup(limit_s, results, "nano", *on_cpu, "--width", "64", "--height", "48"),
        _profile(limit_s, results, "nano", *on_cpu, "--size", "48x32"),
    ]


def _python(name: str, limit_s: float, *words: str | Path) -> Stage:
    return Stage(name, (sys.executable, *map(str, words)), limit_s)


def _benchmark(name: str, limit_s: float, script: str, *words: str | Path) -> Stage:
    return _python(name, limit_s, ROOT / "benchmarks" / script, *words)


def _ppd_doctor(limit_s: float, results: Path, device: str) -> Stage:
    file = results / "gpu_doctor.json"
    words = ("-m", "ppd_core.cli", "doctor", "--device", device, "--json", file)
    return _python("doctor", limit_s, *words)


def _tests(limit_s: float, marker: str) -> Stage:
    # One a line, as they end: a test that hangs does not hide what became of those before it.
    words = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "-m", marker, ROOT / "test/core")
    return _python("tests", limit_s, *words)


def _rounding(limit_s: float, results: Path, model: str, *words: str) -> Stage:
    name = f"rounding_{model.replace('-', '_')}"
    file = results / f"{name}_cuda.json"
    return _benchmark(name, limit_s, "rounding.py", "--model", model, *words, "--json", file)


def _startup(limit_s: float, results: Path, model: str, *words: str) -> Stage:
    file = results / "startup_cuda.json"
    wanted = ("--model", model, "--backend", "graph", "--starts", "1", *words, "--json", file)
    return _benchmark("startup", limit_s, "startup.py", *wanted)


def _profile(limit_s: float, results: Path, model: str, *words: str) -> Stage:
    file = results / "frame_profile_cuda.json"
    return _benchmark(
        "profile", limit_s, "frame_profile.py", "--model", model, *words, "--json", file
    )


if __name__ == "__main__":
    sys.exit(main())
