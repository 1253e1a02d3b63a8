"""A recording of the simulated camera: what its topics would carry, without any ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ppd_core.bag.compressed import compressed_depth_message, jpeg_message
from ppd_core.bag.making import (
    depth_message,
    depth_mm_message,
    info_message,
    make_header,
    rgb_message,
    transform_message,
)

if TYPE_CHECKING:
    from ppd_core.bag.writer import BagWriter
    from ppd_core.sim.camera import RgbdFrame

TABLE_SEED = 900_000_013
"""Of the scene that is shown where none was asked for: kept for evaluation, so that no model was
trained on it."""
WORLD_FRAME, OPTICAL_FRAME = "world", "camera_color_optical_frame"
START_NS = 1_767_225_600 * 10**9
"""The first stamp, the beginning of 2026: the same recording shall be the same bytes."""
_PNG_LEVEL = 6
"""9 would save 3 % more, and take ten times as long."""


@dataclass(frozen=True)
class RecordingConfig:
    """What is recorded; it determines every byte, on the same machine.

    Args:
        seed: of the scene.
        kind: of the scene; None draws one from the seed.
        width, height: of the images, pixels.
        rate_hz: frames a second.
        seconds: how long.
        is_raw: Image messages instead of compressed ones, some ten times as large.
        has_depth_faults: the sensor's depth has noise, holes and smeared borders.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    seed: int = TABLE_SEED
    kind: str | None = "table"
    width: int = 320
    height: int = 240
    rate_hz: float = 10.0
    seconds: float = 3.0
    is_raw: bool = False
    has_depth_faults: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 10**9:
            raise ValueError(f"seed must be in [0, 10**9), got {self.seed}")
        for name, low, high in (
            ("width", 16, 4096),
            ("height", 16, 4096),
            ("rate_hz", 0.1, 120.0),
            ("seconds", 0.1, 3600.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {value}")

    @property
    def frame_count(self) -> int:
        """How many frames that makes: one at least."""
        return max(1, round(self.seconds * self.rate_hz))


def record(
    writer: BagWriter, config: RecordingConfig, *, on_frame: Callable[[], object] = lambda: None
) -> None:
    """Write a moving scene as `sim_camera_node` shows it, with the camera's way through it.

    Topics below /camera: `image` (rgb8) or `image/compressed` (JPEG), `camera_info`, `depth_in`
    (16UC1 millimetres, what a sensor makes of it) and the exact `truth` (32FC1 metres), or
    `depth_in/compressedDepth` and `truth/compressedDepth` (both of 16UC1, lossless PNG). /tf leads
    from `WORLD_FRAME` (z up) to `OPTICAL_FRAME` (x right, y down, z forward). All messages of a
    frame have its stamp, which is also when they are said to have been recorded.

    Args:
        writer: to write to; is not closed.
        config: what.
        on_frame: called after each frame.

    Raises:
        ValueError: the kind of scene is not known.
        RenderingUnavailableError: this machine cannot draw.
        OSError: the writer cannot write.
    """
    for number, (frame, sensed) in enumerate(simulated_frames(config)):
        stamp_ns = START_NS + round(number * 1e9 / config.rate_hz)
        for topic, message in _messages(frame, sensed, stamp_ns, config.is_raw):
            writer.write(topic, stamp_ns, message)
        on_frame()


def simulated_frames(config: RecordingConfig) -> Iterator[tuple[RgbdFrame, np.ndarray]]:
    """Each frame, and what the sensor makes of its depth: (H, W) float32, metres, NaN = hole.

    Raises:
        ValueError: the kind of scene is not known.
        RenderingUnavailableError: this machine cannot draw.
    """
    from ppd_core.sim.camera import RgbdCamera
    from ppd_core.sim.depth_sensor import DepthSensorConfig, sense_depth
    from ppd_core.sim.motion import MovingScene

    scene = MovingScene(config.seed, config.kind)
    sensor = DepthSensorConfig()
    with RgbdCamera(config.width, config.height) as camera:
        for number in range(config.frame_count):
            frame = camera.render(scene.scene, scene.move_to(number / config.rate_hz))
            sensed = frame.depth
            if config.has_depth_faults:
                rng = np.random.default_rng([config.seed, number])
                sensed = sense_depth(frame.depth, frame.image, frame.intrinsics, sensor, rng)
            yield frame, sensed


def _messages(
    frame: RgbdFrame, sensed: np.ndarray, stamp_ns: int, is_raw: bool
) -> Iterator[tuple[str, Any]]:
    header = make_header(stamp_ns, OPTICAL_FRAME)
    yield "/tf", _transform(frame.camera_to_world, stamp_ns)
    yield "/camera/camera_info", info_message(frame.intrinsics, header)
    if is_raw:
        yield "/camera/image", rgb_message(frame.image, header)
        yield "/camera/depth_in", depth_mm_message(sensed, header)
        yield "/camera/truth", depth_message(frame.depth, header)
        return
    yield "/camera/image/compressed", jpeg_message(frame.image, header)
    for topic, depth in (("depth_in", sensed), ("truth", frame.depth)):
        message = compressed_depth_message(depth, header, png_level=_PNG_LEVEL)
        yield f"/camera/{topic}/compressedDepth", message


def _transform(camera_to_world: np.ndarray, stamp_ns: int) -> Any:
    from ppd_core.sim.views import pose_parts

    return transform_message(stamp_ns, WORLD_FRAME, OPTICAL_FRAME, *pose_parts(camera_to_world))
