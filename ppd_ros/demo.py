"""A camera's images in, depth and clouds out, over real topics: three processes in one command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppd_core.config import PRESETS
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

DEFAULT_MODEL = "nano"
TABLE_SEED = 900_000_013
"""Of the scene: one of those that are kept for evaluation, so no model was trained on it."""
NODE_FAILED = "cannot configure"
"""What the node logs when there is no use in waiting for it."""
UNTRAINED = (
    "The model '{model}' is UNTRAINED. What you see is the way of an image through the package, "
    "over real topics, to files. It is not depth: do not judge the pictures."
)
NO_CAMERA = (
    "ppd-demo: --photos shows photos instead, and needs no rendering: "
    f"{sys.executable} -m ppd_ros.demo --photos"
)


@dataclass(frozen=True)
class Show:
    """What the demo shows: which camera, how far its scene reaches, what is written.

    Attributes:
        what: in a few words.
        camera: module and arguments of the process that is the camera.
        recorder: arguments of the recorder.
        near_m, far_m: of `alignment.source constant`.
        metres: what the metres in the pictures come from.
        written: the files, beside summary.json and the logs.
    """

    what: str
    camera: tuple[str, ...]
    recorder: tuple[str, ...]
    near_m: float
    far_m: float
    metres: str
    written: str


def table_show(model: str, rate_hz: float) -> Show:
    """A simulated table seen by a moving camera, with the exact depth to compare with."""
    return Show(
        what=f"simulated table {TABLE_SEED}",
        camera=(
            *("sim_camera_node", "--ros-args", "-r", "__ns:=/camera"),
            *("-p", f"seed:={TABLE_SEED}", "-p", f"rate_hz:={rate_hz:.6f}"),
        ),
        recorder=("--truth", "--model", model),
        near_m=0.5,
        far_m=3.5,
        metres="Pictures, clouds and errors: scale and shift of each frame fitted to the truth.",
        written="demo.gif, its frames in frames/, cloud.ply beside truth.ply,",
    )


def photo_show(photos: Sequence[str], rate_hz: float) -> Show:
    """Photos, one after the other."""
    return Show(
        what=f"photos {', '.join(photos)}",
        camera=("photo_publisher", "--photos", *photos, "--rate-hz", str(rate_hz)),
        recorder=("--photos", *photos),
        near_m=0.5,
        far_m=10.0,
        metres="No sensor, so these are not measured.",
        written=", ".join(f"{name}.png" for name in photos)
        + ", NAME_side.png (the cloud from the side), NAME.ply,",
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    options = _parser().parse_args(args)
    try:
        if options.photos is None:
            show = table_show(options.model, options.rate_hz)
        else:
            show = photo_show(options.photos or list(photo_paths()), options.rate_hz)
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()  # It may be there and not be writable.
        domain_id = options.domain_id
        if domain_id is None:
            domain_id = int(os.environ.get("ROS_DOMAIN_ID") or free_domain_id())
    except (ValueError, OSError, RuntimeError) as error:
        print(f"ppd-demo: {error}", file=sys.stderr)
        return 1
    note = UNTRAINED.format(model=options.model) if _is_untrained(options.model) else ""
    metres = (
        f"Metres on the topics come from alignment.source constant ({show.near_m:g} .. "
        f"{show.far_m:g} m). {show.metres}"
    )
    print(f"Camera: {show.what}. Model: {options.model}. ROS_DOMAIN_ID: {domain_id}.")
    print("\n".join(filter(None, [note, metres])), flush=True)
    return _run(options, show, domain_id, f"{note} {metres}".strip())


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
    parser.add_argument(
        "--photos",
        nargs="*",
        choices=PHOTOS,
        metavar="NAME",
        help=f"photos instead of the simulated table: {', '.join(PHOTOS)} (none named: all)",
    )
    parser.add_argument("--rate-hz", type=_rate_hz, default=5.0, help="of the camera (default: 5)")
    parser.add_argument("--frames", type=int, default=20, help="to record at least (default: 20)")
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

        node = start("node", "depth_node", *_node_arguments(options.model, show))
        recorder = start(
            "recorder", "recorder", *show.recorder, "--out", str(options.out),
            "--min-frames", str(options.frames), "--timeout-s", str(options.timeout_s),
            "--note", note,
        )  # fmt: skip
        camera = start("camera", *show.camera)

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
            if first is camera and options.photos is None:
                print(NO_CAMERA, file=sys.stderr)
            return 1
        statuses = {child.name: child.end() for child in (camera, node)}
    print(recorder.output.rstrip())
    print("node:   " + _last_saying(node, "frames:"))
    print("camera: " + _last_saying(camera, "frames sent"))
    print(f"Written to {options.out}/: {show.written} summary.json, and the three logs.")
    failed = {name: status for name, status in statuses.items() if status != 0}
    if failed:
        print(f"ppd-demo: these did not end with status 0: {failed}", file=sys.stderr)
    return 1 if failed else 0


def _is_untrained(model: str) -> bool:
    return model in PRESETS and not PRESETS[model].weights and packaged_checkpoint(model) is None


def _node_arguments(model: str, show: Show) -> list[str]:
    parameters = {
        "model": model,
        "alignment.source": "constant",
        "alignment.near_m": show.near_m,
        "alignment.far_m": show.far_m,
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
