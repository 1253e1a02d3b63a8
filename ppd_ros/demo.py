"""Photos in, depth images and clouds out, over real topics: three processes in one command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ppd_core.config import PRESETS
from ppd_ros.children import (
    Child,
    domain_environment,
    ended_children,
    free_domain_id,
    wait_for_first,
)
from ppd_ros.photo_publisher import PHOTOS, photo_paths
from ppd_ros.process import StopSignals

NEAR_M, FAR_M = 0.5, 10.0
NODE_FAILED = "cannot configure"
"""What the node logs when there is no use in waiting for it."""
UNTRAINED = (
    "The model '{model}' is UNTRAINED. What you see is the way of a photo through the package, "
    "over real topics, to files. It is not depth: do not judge the pictures."
)
CONSTANT = f"Metres come from alignment.source constant ({NEAR_M:g} .. {FAR_M:g} m): no sensor."


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    options = _parser().parse_args(args)
    try:
        photos = options.photos or list(photo_paths())
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()  # It may be there and not be writable.
        domain_id = options.domain_id
        if domain_id is None:
            domain_id = int(os.environ.get("ROS_DOMAIN_ID") or free_domain_id())
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ppd-demo: {error}", file=sys.stderr)
        return 1
    is_untrained = options.model in PRESETS and not PRESETS[options.model].weights
    note = UNTRAINED.format(model=options.model) if is_untrained else ""
    print(f"Photos: {', '.join(photos)}. Model: {options.model}. ROS_DOMAIN_ID: {domain_id}.")
    print("\n".join(filter(None, [note, CONSTANT])), flush=True)
    return _run(options, photos, domain_id, f"{note} {CONSTANT}".strip())


def _rate_hz(text: str) -> float:
    rate_hz = float(text)
    if not 0 < rate_hz <= 1000:
        raise argparse.ArgumentTypeError(f"must be in (0, 1000] a second, got {text}")
    return rate_hz


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ppd-demo", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--model", default="tiny", help="preset or checkpoint (default: tiny)")
    parser.add_argument("--photos", nargs="+", choices=PHOTOS, metavar="NAME")
    parser.add_argument("--rate-hz", type=_rate_hz, default=5.0, help="of the camera (default: 5)")
    parser.add_argument("--frames", type=int, default=20, help="to record at least (default: 20)")
    parser.add_argument("--timeout-s", type=float, default=180.0, help="give up after (180)")
    parser.add_argument(
        "--domain-id", type=int, help="default: ROS_DOMAIN_ID, else one that is free"
    )
    return parser


def _run(options: argparse.Namespace, photos: Sequence[str], domain_id: int, note: str) -> int:
    """Start the three, wait for the recorder, end the others."""
    # A flag, not KeyboardInterrupt: that could come between a child's start and its being listed.
    signals = StopSignals()
    with ended_children() as children:

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

        node = start("node", "depth_node", *_node_arguments(options.model))
        recorder = start(
            "recorder", "recorder", "--photos", *photos, "--out", str(options.out),
            "--min-frames", str(options.frames), "--timeout-s", str(options.timeout_s),
            "--note", note,
        )  # fmt: skip
        camera = start(
            "camera", "photo_publisher", "--photos", *photos, "--rate-hz", str(options.rate_hz)
        )

        # Beyond the recorder's own deadline: it has pictures to render.
        def is_given_up() -> bool:
            # Else a model that cannot load would only be told when the recorder's time is up.
            return signals.is_requested() or NODE_FAILED in node.output

        first = wait_for_first(children, options.timeout_s + 120, is_given_up=is_given_up)
        if signals.is_requested():
            print("ppd-demo: ended by a signal", file=sys.stderr)
            return 130
        if first is not recorder or recorder.status != 0:
            _explain(first, recorder, children)
            return 1
        statuses = {child.name: child.end() for child in (camera, node)}
    print(recorder.output.rstrip())
    print("node:   " + _last_saying(node, "frames:"))
    print("camera: " + _last_saying(camera, "frames sent"))
    print(f"Written to {options.out}/: " + ", ".join(f"{name}.png" for name in photos) + ",")
    print("NAME_side.png (the cloud from the side), NAME.ply, summary.json, and the three logs.")
    failed = {name: status for name, status in statuses.items() if status != 0}
    if failed:
        print(f"ppd-demo: these did not end with status 0: {failed}", file=sys.stderr)
    return 1 if failed else 0


def _node_arguments(model: str) -> list[str]:
    parameters = {
        "model": model,
        "alignment.source": "constant",
        "alignment.near_m": NEAR_M,
        "alignment.far_m": FAR_M,
        # Best effort, the node's default, loses half of such images on Fast DDS' small buffers.
        "qos_overrides./camera/image.subscription.reliability": "reliable",
    }
    remappings = {"image": "camera/image", "camera_info": "camera/camera_info"}
    return [
        "--ros-args",
        *(word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")),
        *(word for name, topic in remappings.items() for word in ("-r", f"{name}:={topic}")),
    ]


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
