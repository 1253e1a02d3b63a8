"""What the demo can show: a simulated table, a real stereo pair, photos."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ppd_core.registry import packaged_recording
from ppd_core.sim.recording import TABLE_SEED
from ppd_ros.photo_publisher import FRAME_SUFFIX
from ppd_ros.sim_camera_node import FRAME_ID
from ppd_ros.stereo_publisher import SCENE

BAG_FOLDER = "recording"
"""Of the bag, among the files that the recorder writes."""
RECORDED = "complete frames recorded"
"""What the recorder says when it needs nothing of the topics any more; the demo waits for it."""
SENSOR = {
    "alignment.source": "depth",
    "alignment.surfaces": True,
    # On a busy machine the sensor's image is late; going on without would show held metres.
    "alignment.max_wait_s": 1.0,
    # Not "drop": a frame that nothing ties to metres shall be seen to have none.
    "alignment.on_failure": "nan",
}
NO_CAMERA = (
    "ppd-demo: a real stereo pair and photos need no rendering: "
    f"{sys.executable} -m ppd_ros.demo --stereo, or {sys.executable} -m ppd_ros.demo --photos"
)


@dataclass(frozen=True)
class Show:
    """What the demo shows: which camera, what ties its depth to metres, what is written.

    Attributes:
        what: in a few words.
        camera: module and arguments of the process that is the camera.
        recorder: arguments of the recorder.
        parameters: of the node, beside the model.
        metres: what the metres on the topics and in the pictures come from.
        written: the files, beside summary.json and the logs.
        stand_in: module and arguments of what is the camera where the first one cannot run.
        hint: for when that is so, and the stand-in cannot run either.
        frames: how many are recorded unless told otherwise.
    """

    what: str
    camera: tuple[str, ...]
    recorder: tuple[str, ...]
    parameters: Mapping[str, object] = field(default_factory=dict)
    metres: str = ""
    written: str = ""
    stand_in: tuple[str, ...] = ()
    hint: str = ""
    frames: int = 20


def table_show(model: str, rate_hz: float) -> Show:
    """A simulated table seen by a moving camera, with the exact depth to compare with."""
    return Show(
        what=f"simulated table {TABLE_SEED}",
        camera=(
            *("sim_camera_node", "--ros-args", "-r", "__ns:=/camera"),
            *("-p", f"seed:={TABLE_SEED}", "-p", f"rate_hz:={rate_hz:.6f}"),
        ),
        recorder=_with_truth(FRAME_ID.removesuffix(FRAME_SUFFIX), model, near_m=0.5, far_m=3.5),
        parameters=SENSOR,
        metres=_from_sensor("the simulated sensor's faulty depth"),
        written="story.png (look at it first), demo.gif (the same, moving), alignment.png (three "
        "ways to metres, and how sure the last is), cloud.ply beside truth.ply,",
        stand_in=("bag_publisher", str(packaged_recording())),
        hint=NO_CAMERA,
    )


def stereo_show(model: str, rate_hz: float) -> Show:
    """A real scene, with OpenCV's stereo matching as the sensor and measured truth."""
    return Show(
        what="the Middlebury motorcycle, a real stereo pair",
        camera=("stereo_publisher", "--rate-hz", str(rate_hz)),
        recorder=(*_with_truth(SCENE, model, near_m=1.0, far_m=6.0), "--still"),
        parameters=SENSOR,
        metres=_from_sensor("OpenCV's stereo matching"),
        written="story.png (look at it first), alignment.png (three ways to metres, and how "
        "sure the last is), cloud.ply beside truth.ply,",
        frames=5,  # Each is the same; these tell the rate.
    )


def photo_show(photos: Sequence[str], rate_hz: float) -> Show:
    """Photos, one after the other."""
    near_m, far_m = 0.5, 10.0
    return Show(
        what=f"photos {', '.join(photos)}",
        camera=("photo_publisher", "--photos", *photos, "--rate-hz", str(rate_hz)),
        recorder=("--photos", *photos),
        parameters={
            "alignment.source": "constant",
            "alignment.near_m": near_m,
            "alignment.far_m": far_m,
        },
        metres=f"Metres on the topics come from alignment.source constant ({near_m:g} .. "
        f"{far_m:g} m). No sensor, so these are not measured.",
        written=", ".join(f"{name}.png" for name in photos)
        + ", NAME_side.png (the cloud from the side), NAME.ply,",
    )


def node_arguments(model: str, show: Show) -> list[str]:
    """The command line of the depth node for a show."""
    topics = ("image", "camera_info", "depth_in")
    parameters = {"model": model, **show.parameters}
    return [
        "--ros-args",
        *(word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")),
        *(word for topic in topics for word in ("-r", f"{topic}:=camera/{topic}")),
    ]


def _with_truth(name: str, model: str, *, near_m: float, far_m: float) -> tuple[str, ...]:
    return ("--truth", name, "--model", model, "--near-m", str(near_m), "--far-m", str(far_m))


def _from_sensor(sensor: str) -> str:
    return (
        "Metres on the topics come from alignment.source depth with alignment.surfaces: "
        f"{sensor}. The exact depth is only compared with, and nothing is fitted to it."
    )
