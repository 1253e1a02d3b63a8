"""A camera's images in, depth and clouds out, over real topics: three processes in one command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ppd_core.config import PRESETS
from ppd_core.output_streams import escape_unknown_letters
from ppd_core.registry import packaged_checkpoint
from ppd_ros.children import (
    Child,
    domain_environment,
    ended_children,
    free_domain_id,
    wait_for_first,
)
from ppd_ros.photo_publisher import PHOTOS, photo_paths
from ppd_ros.process import StopSignals
from ppd_ros.shows import (
    BAG_FOLDER,
    RECORDED,
    Show,
    node_arguments,
    photo_show,
    stereo_show,
    table_show,
)

DEFAULT_MODEL = "nano"
NODE_FAILED = "cannot configure"
"""What the node logs when there is no use in waiting for it."""
DRAWING_S = 300.0
"""How long the recorder may take for its pictures."""
STANDS_IN = (
    "The table cannot be drawn on this machine, so a recording of it that comes with the package "
    "is played instead: {reason}"
)
UNTRAINED = (
    "The model '{model}' is UNTRAINED. What you see is the way of an image through the package, "
    "over real topics, to files. It is not depth: do not judge the pictures."
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    escape_unknown_letters()
    options = _parser().parse_args(args)
    try:
        show = _show(options)
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()  # It may be there and not be writable.
        domain_id = options.domain_id
        if domain_id is None:
            domain_id = int(os.environ.get("ROS_DOMAIN_ID") or free_domain_id())
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ppd-demo: {error}", file=sys.stderr)
        return 1
    note = UNTRAINED.format(model=options.model) if _is_untrained(options.model) else ""
    print(f"Camera: {show.what}. Model: {options.model}. ROS_DOMAIN_ID: {domain_id}.")
    print("\n".join(filter(None, [note, show.metres])), flush=True)
    return _run(options, show, domain_id, f"{note} {show.metres}".strip())


def _show(options: argparse.Namespace) -> Show:
    if options.stereo:
        return stereo_show(options.model, options.rate_hz)
    if options.photos is None:
        return table_show(options.model, options.rate_hz)
    return photo_show(options.photos or list(photo_paths()), options.rate_hz)


def _rate_hz(text: str) -> float:
    rate_hz = float(text)
    if not 0 < rate_hz <= 1000:
        raise argparse.ArgumentTypeError(f"must be in (0, 1000] a second, got {text}")
    return rate_hz


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ppd-demo", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/demo"))
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"preset or checkpoint (default: {DEFAULT_MODEL})"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--stereo",
        action="store_true",
        help="a real stereo pair whose depth is known, instead of the simulated table",
    )
    what.add_argument(
        "--photos",
        nargs="*",
        choices=PHOTOS,
        metavar="NAME",
        help=f"photos instead of the simulated table: {', '.join(PHOTOS)} (none named: all)",
    )
    parser.add_argument("--rate-hz", type=_rate_hz, default=5.0, help="of the camera (default: 5)")
    parser.add_argument(
        "--frames", type=int, help="to record at least (default: 20; of the stereo pair 5)"
    )
    parser.add_argument("--timeout-s", type=float, default=300.0, help="give up after (300)")
    parser.add_argument(
        "--domain-id", type=int, help="default: ROS_DOMAIN_ID, else one that is free"
    )
    return parser


def _run(options: argparse.Namespace, show: Show, domain_id: int, note: str) -> int:
    """Start the three, wait for the recorder, end the others."""
    # A flag, not KeyboardInterrupt: that could come between a child's start and its being listed.
    signals = StopSignals()
    with ended_children() as children:
        start = _starter(options, domain_id, children)
        node, recorder, camera = _start(options, show, note, start)

        def wait_for_recording() -> Child | None:
            def is_settled() -> bool:
                # The node: else a model that cannot load would only be told when the time is up.
                said = NODE_FAILED in node.output or RECORDED in recorder.output
                return said or signals.is_requested()

            # Beyond the recorder's own deadline.
            return wait_for_first(children, options.timeout_s + 120, is_given_up=is_settled)

        first = wait_for_recording()
        # Status 0: somebody ended it, as Ctrl-C does.
        if first is camera and camera.status != 0 and show.stand_in:
            children.remove(camera)
            print(STANDS_IN.format(reason=_last_saying(camera, "")), flush=True)
            camera = start("player", *show.stand_in)
            first = wait_for_recording()
        statuses = {}
        if first is None and RECORDED in recorder.output:
            # Now it draws: nobody needs the other two, and they would slow it down.
            statuses = {child.name: child.end() for child in (camera, node)}
            first = wait_for_first([recorder], DRAWING_S, is_given_up=signals.is_requested)
        if signals.is_requested():
            print("ppd-demo: ended by a signal", file=sys.stderr)
            return 130
        if first is not recorder or recorder.status != 0:
            _explain(first, recorder, children)
            if first is camera and show.hint:
                print(show.hint, file=sys.stderr)
            return 1
        statuses |= {child.name: child.end() for child in (camera, node)}
    _tell(options, show, node, recorder, camera)
    failed = {name: status for name, status in statuses.items() if status != 0}
    if failed:
        print(f"ppd-demo: these did not end with status 0: {failed}", file=sys.stderr)
    return 1 if failed else 0


def _tell(
    options: argparse.Namespace, show: Show, node: Child, recorder: Child, camera: Child
) -> None:
    """Say what was seen and where it is."""
    print(recorder.output.rstrip())
    print("node:   " + _last_saying(node, "frames:"))
    print("camera: " + _last_saying(camera, "frames sent"))
    print(f"Written to {options.out}/: {show.written} summary.json, and the logs.")
    if f"{BAG_FOLDER}/: " in recorder.output:  # Else there may be one of an earlier run.
        print(f"To see it move, frame by frame: {_command()} view {options.out / BAG_FOLDER}")


def _starter(
    options: argparse.Namespace, domain_id: int, children: list[Child]
) -> Callable[..., Child]:
    """What starts a child by its name, module and arguments; it is in `children` then."""

    def start(name: str, module: str, *arguments: str) -> Child:
        child = Child(
            name,
            f"ppd_ros.{module}",
            arguments,
            log_folder=options.out,
            environment=domain_environment(domain_id),
        )
        children.append(child)
        return child

    return start


def _start(
    options: argparse.Namespace, show: Show, note: str, start: Callable[..., Child]
) -> tuple[Child, Child, Child]:
    """Node, recorder and camera."""
    frames = show.frames if options.frames is None else options.frames
    node = start("node", "depth_node", *node_arguments(options.model, show))
    limits = ("--min-frames", str(frames), "--timeout-s", str(options.timeout_s))
    what = (*show.recorder, "--out", str(options.out), "--note", note)
    recorder = start("recorder", "recorder", *what, *limits)
    return node, recorder, start("camera", *show.camera)


def _command() -> str:
    """The `ppd` of this interpreter, as it can be typed here."""
    program = Path(sys.executable).with_name("ppd")
    if not program.is_file():
        return f"{sys.executable} -m ppd_core.cli"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _is_untrained(model: str) -> bool:
    return model in PRESETS and not PRESETS[model].weights and packaged_checkpoint(model) is None


def _explain(first: Child | None, recorder: Child, children: Sequence[Child]) -> None:
    """Say why there is nothing to show, with the ends of the logs that may tell more."""
    if first is None:
        print("ppd-demo: the node is not configured, or the time is up", file=sys.stderr)
    else:
        print(f"ppd-demo: the {first.name} ended with status {first.status}", file=sys.stderr)
    # The recorder ends last of all troubles: what it waited for is in the others' logs.
    for child in children if first in (None, recorder) else [first]:
        print(f"--- {child.log_path}\n{child.last_lines()}", file=sys.stderr)


def _last_saying(child: Child, words: str) -> str:
    lines = [line for line in child.output.splitlines() if words in line]
    return lines[-1].partition("]: ")[2] if lines else f"(no line with {words!r} in its log)"


if __name__ == "__main__":
    sys.exit(main())
