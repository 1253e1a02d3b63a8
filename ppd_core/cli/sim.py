"""`ppd sim`: simulated RGB-D data."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.atomic_file import atomic_write
from ppd_core.cli import sim_record
from ppd_core.version import __version__

if TYPE_CHECKING:
    from ppd_core.sim.dataset import DatasetConfig
    from ppd_core.sim.generate import GenerationResult

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    """Add `sim` and its commands to the parsers of `ppd`."""
    parser = subparsers.add_parser("sim", help="simulated RGB-D frames with exact depth")
    commands = parser.add_subparsers(dest="sim_command", required=True, metavar="COMMAND")
    generate = commands.add_parser(
        "generate",
        help="write a data set as WebDataset shards; run again, it continues",
    )
    generate.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    generate.add_argument("--count", type=int, metavar="N", help="frames")
    generate.add_argument(
        "--seed", type=int, metavar="S", help="the first scene's seed; the others count on from it"
    )
    generate.add_argument(
        "--held-out",
        action="store_true",
        help="the scenes that are kept for evaluation, instead of --seed; all without --count",
    )
    sizes = (("width", 320, "px"), ("height", 240, "px"), ("views-per-scene", 8, "frames"))
    for name, default, unit in sizes:
        generate.add_argument(
            f"--{name}",
            type=int,
            default=default,
            metavar="N",
            help=f"{unit} (default: {default})",
        )
    generate.add_argument(
        "--processes", type=int, metavar="P", help="that write at a time (default: one a core)"
    )
    generate.add_argument(
        "--json", type=Path, metavar="FILE", help="write frames_per_s and how it was measured"
    )
    sim_record.add_parser(commands)


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0 all is written, 1 it broke off, 2 nothing could run; the reason is a
        line on stderr.
    """
    return _record(args) if args.sim_command == "record" else _run_generate(args)


def _run_generate(args: argparse.Namespace) -> int:
    missing = [name for name in ("mujoco", "webdataset") if find_spec(name) is None]
    if missing:
        _say(f"simulation needs {' and '.join(missing)}: pip install 'ppd_ros[sim]'")
        return 2
    from ppd_core.sim.camera import RenderingUnavailableError
    from ppd_core.sim.generate import GenerationError

    try:
        config = _config(args)
        result = _generate(args, config)
    except (ValueError, RenderingUnavailableError) as error:
        _say(str(error))
        return 2
    except GenerationError as error:
        _say(str(error))
        return 1
    print(f"{config.count} frames: {args.output}")
    if result.frames_written:
        print(f"{result.frames_written} written now, {result.frames_per_s:.1f} frames/s")
    if args.json is not None:
        try:
            _write_json(args.json, config, args.processes, result)
        except ValueError as error:
            _say(str(error))
            return 1
        except OSError as error:
            _say(f"cannot write {args.json}: {error.strerror}")
            return 1
    return 0


def _record(args: argparse.Namespace) -> int:
    if find_spec("mujoco") is None:
        _say("simulation needs mujoco: pip install 'ppd_ros[sim]'")
        return 2
    from ppd_core.sim.camera import RenderingUnavailableError

    try:
        print(sim_record.run(args))
    except (ValueError, RenderingUnavailableError) as error:
        _say(str(error))
        return 2
    except OSError as error:
        _say(str(error))
        return 1
    return 0


def _say(message: str) -> None:
    print(f"ppd sim: {' '.join(message.split())}", file=sys.stderr)


def _config(args: argparse.Namespace) -> DatasetConfig:
    from ppd_core.sim.dataset import DatasetConfig
    from ppd_core.sim.scenes import HELD_OUT_SEEDS

    seed, count = args.seed, args.count
    if args.held_out:
        if seed is not None:
            raise ValueError(f"--held-out has its own seeds, got --seed {seed} too")
        seed = HELD_OUT_SEEDS[0]
        count = len(HELD_OUT_SEEDS) * args.views_per_scene if count is None else count
    if seed is None or count is None:
        raise ValueError("--count and --seed must be given, or --held-out")
    return DatasetConfig(
        seed,
        count,
        width=args.width,
        height=args.height,
        views_per_scene=args.views_per_scene,
        is_held_out=args.held_out,
    )


def _generate(args: argparse.Namespace, config: DatasetConfig) -> GenerationResult:
    from tqdm import tqdm

    from ppd_core.sim.generate import generate

    with ExitStack() as stack:
        bars: list[tqdm] = []

        def show(frames: int) -> None:
            if not bars:  # the first call tells what an earlier run left
                bar = tqdm(total=config.count, initial=frames, unit="frame", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(frames - bars[0].n)

        return generate(args.output, config, processes=args.processes, on_progress=show)


def _write_json(
    path: Path, config: DatasetConfig, processes: int | None, result: GenerationResult
) -> None:
    if not result.frames_written:
        raise ValueError(f"{path} not written: the frames were all there, no rate was measured")
    import mujoco

    scenes = "--held-out" if config.is_held_out else f"--seed {config.seed}"
    options = f"--width {config.width} --height {config.height}"
    options += f" --views-per-scene {config.views_per_scene}"
    processes = processes or os.cpu_count()
    figures = {
        "frames_per_s": round(result.frames_per_s, 2),
        "frames": result.frames_written,
        "seconds": round(result.seconds, 2),
        "processes": processes,
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
        "versions": f"ppd_ros {__version__}, Python {platform.python_version()}, "
        f"MuJoCo {mujoco.__version__}",
        "command": f"ppd sim generate --count {config.count} {scenes} {options} "
        f"--processes {processes}",
    }
    with atomic_write(path) as stream:
        stream.write(json.dumps(figures, indent=2).encode() + b"\n")


def _processor() -> str:
    """The processor's name; `platform.processor` is empty on most Linux."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
