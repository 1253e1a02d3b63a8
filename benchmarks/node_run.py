"""One run of the node between a camera and a listener, each in a process of its own."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_topics import DEFAULT_OUTPUTS

from ppd_ros.children import (
    Child,
    domain_environment,
    ended_children,
    free_domain_id,
    wait_for_first,
)

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0
"""How long the processes may take until the first frame."""
SLOWNESS = 5.0
"""How many times as long as it should a run may take before it is given up."""
SUBSCRIBED_RELIABLY = [
    word
    for topic in ("/image", "/camera_info")
    for word in ("-p", f"qos_overrides.{topic}.subscription.reliability:=reliable")
]

PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><profiles>
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>memory</transport_id><type>SHM</type><segment_size>{bytes}</segment_size>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>network</transport_id><type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_messages" is_default_profile="true"><rtps>
    <userTransports>
      <transport_id>memory</transport_id><transport_id>network</transport_id>
    </userTransports>
    <useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles></dds>
"""
"""Of Fast DDS: its own transports, but a segment of shared memory that holds whole messages."""


@dataclass(frozen=True)
class Scenario:
    """What the node is to do.

    Attributes:
        width, height: of the camera's images, in pixels.
        rate_hz: of the camera.
        network_s: how long the networks take, in seconds.
        frames, warm_up: how many frames are measured, and how many before them are not.
        source: `alignment.source`.
        outputs: the topics that are subscribed to.
        processing_area: pixels at model size.
        device: the parameter.
        segment_mb: shared memory that each process sends from, in 2^20 bytes; None is the
            middleware's own choice (half a megabyte).
        is_timing: whether times are taken; else memory alone.
    """

    width: int
    height: int
    rate_hz: float
    network_s: float
    frames: int
    warm_up: int
    source: str = "constant"
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    processing_area: int = 1024 * 768
    device: str = "cpu"
    segment_mb: int | None = None
    is_timing: bool = True

    @property
    def size(self) -> str:
        """As it stands in the names of figures."""
        return f"{self.width}x{self.height}"

    @property
    def deadline_s(self) -> float:
        """How long it may take at most, in seconds."""
        should_take_s = (self.frames + self.warm_up) * (1 / self.rate_hz + self.network_s)
        return START_S + SLOWNESS * should_take_s


@dataclass(frozen=True)
class Recorded:
    """What was written down in a run.

    Attributes:
        scenario: that was run.
        node: what `node_probes.Probes.measurements` gave.
        arrivals: topic -> stamp in nanoseconds and seconds from there to the listener's callback.
    """

    scenario: Scenario
    node: dict[str, Any]
    arrivals: dict[str, list[tuple[int, float]]]


def run(scenario: Scenario) -> Recorded:
    """Run a scenario to its end.

    Raises:
        RuntimeError: a process ended that should not, or the time was up; with its last words.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ended_children() as children:
            listener, camera, node = _start(scenario, folder, children)
            ended = wait_for_first([node, listener, camera], scenario.deadline_s)
            if ended is not node or node.status != 0:
                said = "\n".join(f"{child.name}: {child.last_lines()}" for child in children)
                raise RuntimeError(
                    f"the node must have measured {scenario.frames} frames within "
                    f"{scenario.deadline_s:.0f} s, but "
                    f"{ended.name if ended else 'nobody'} ended; they said:\n{said}"
                )
        return Recorded(scenario, _read(folder / "node.json"), _read(folder / "listener.json"))


def _start(scenario: Scenario, folder: Path, children: list[Child]) -> list[Child]:
    environment = domain_environment(free_domain_id())
    if scenario.segment_mb is not None:
        profile = folder / "profile.xml"
        profile.write_text(PROFILE.format(bytes=scenario.segment_mb * 2**20))
        # The second is what it is called from Fast DDS 3 on.
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            environment[name] = str(profile)
    paths = [str(ROOT / "benchmarks"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    settings = {
        "file": str(folder / "node.json"),
        "device": scenario.device,
        "network_s": scenario.network_s,
        "topics": scenario.outputs,
        "warm_up": scenario.warm_up,
        "frames": scenario.frames,
        "is_timing": scenario.is_timing,
    }
    words = {
        "node_listener": [str(folder / "listener.json"), *scenario.outputs],
        "node_camera": [str(scenario.width), str(scenario.height), str(scenario.rate_hz)],
        "node_process": [json.dumps(settings), *_ros_arguments(scenario)],
    }
    for module, arguments in words.items():
        children.append(
            Child(module, module, arguments, log_folder=folder, environment=environment)
        )
    return children


def _ros_arguments(scenario: Scenario) -> list[str]:
    values = {
        "alignment.source": scenario.source,
        "processing_area": scenario.processing_area,
        "device": scenario.device,
    }
    given = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    return ["--ros-args", *SUBSCRIBED_RELIABLY, *given]


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
