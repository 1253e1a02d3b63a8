"""`ppd sim record`: a recording of the simulated camera."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppd_core.sim.recording import RecordingConfig

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

KINDS = ("table", "bin", "shelf", "room", "any")


def add_parser(commands: Subparsers) -> None:
    """Add `record` to the commands of `ppd sim`."""
    record = commands.add_parser(
        "record", help="write a bag (MCAP) of a moving scene with depth sensor, truth and tf"
    )
    record.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="a new folder, as `ros2 bag record` makes it; or one file, FILE.mcap",
    )
    record.add_argument("--kind", choices=KINDS, default="table", help="of scene (default: table)")
    numbers: tuple[tuple[str, int | float, str], ...] = (
        ("seed", 900_000_013, "which scene"),
        ("width", 320, "px"),
        ("height", 240, "px"),
        ("rate-hz", 10.0, "frames a second"),
        ("seconds", 3.0, "how long"),
    )
    for name, default, what in numbers:
        record.add_argument(
            f"--{name}",
            type=type(default),
            default=default,
            metavar="N",
            help=f"{what} (default: {default})",
        )
    record.add_argument("--raw", action="store_true", help="Image messages, not compressed ones")
    record.add_argument(
        "--no-faults", action="store_true", help="a depth sensor that is exact to a millimetre"
    )


def run(args: argparse.Namespace) -> str:
    """Record.

    Returns:
        What was written.

    Raises:
        ValueError: what was asked for cannot be, or mujoco or rosbags is missing.
        RenderingUnavailableError: this machine cannot draw.
        OSError: the recording cannot be written.
    """
    missing = [name for name in ("rosbags", "mcap") if find_spec(name) is None]
    if missing:
        raise ValueError(f"a recording needs {' and '.join(missing)}: pip install 'ppd_ros[bag]'")
    config = _config(args)
    if args.output.suffix != ".mcap":
        _write(args.output, config)
        return f"{config.frame_count} frames: {args.output}"
    if args.output.exists():
        raise ValueError(f"{args.output} is there already")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output.parent) as folder:
        bag = Path(folder) / args.output.stem
        _write(bag, config)
        [file] = bag.glob("*.mcap")
        shutil.move(file, args.output)
    return f"{config.frame_count} frames: {args.output}"


def _config(args: argparse.Namespace) -> RecordingConfig:
    from ppd_core.sim.recording import RecordingConfig

    return RecordingConfig(
        args.seed,
        None if args.kind == "any" else args.kind,
        width=args.width,
        height=args.height,
        rate_hz=args.rate_hz,
        seconds=args.seconds,
        is_raw=args.raw,
        has_depth_faults=not args.no_faults,
    )


def _write(folder: Path, config: RecordingConfig) -> None:
    from tqdm import tqdm

    from ppd_core.bag.writer import BagWriter
    from ppd_core.sim.recording import record

    with BagWriter(folder) as writer, tqdm(total=config.frame_count, unit="frame") as bar:
        record(writer, config, on_frame=bar.update)
        writer.close({"frames": config.frame_count})
