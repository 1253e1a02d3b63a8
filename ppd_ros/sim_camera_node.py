"""A simulated RGB-D camera over a moving scene: colour, faulty depth, and the truth."""

from __future__ import annotations

import time
from typing import Any, NoReturn

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.throttle import Throttle
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import depth_to_image, depth_to_image_mm, rgb_to_image
from ppd_ros.parameter_spec import ParameterSpec
from ppd_ros.process import leave, run_node

FRAME_ID = "camera_color_optical_frame"
"""The one that RViz shows after `config/ppd.rviz`."""
SPECS = (
    ParameterSpec(
        "seed",
        900_000_013,  # one that models are not trained on
        "Which scene; the same number is the same scene, moving alike.",
        bounds=(0, 999_999_999),
    ),
    ParameterSpec(
        "kind",
        "table",
        "What kind of scene; any: the seed decides.",
        choices=("table", "bin", "shelf", "room", "any"),
    ),
    ParameterSpec("width", 320, "Of the images, in pixels.", bounds=(16, 4096)),
    ParameterSpec("height", 240, "Of the images, in pixels.", bounds=(16, 4096)),
    ParameterSpec("rate_hz", 10.0, "Frames a second.", bounds=(0.1, 120.0)),
    ParameterSpec(
        "motion_speed",
        1.0,
        "How fast camera and objects move; 1: a loop lasts 20 s, 0: nothing moves.",
        bounds=(0.0, 10.0),
    ),
    ParameterSpec(
        "has_depth_faults",
        True,
        "Give depth_in the noise, holes and borders of a real sensor; off: exact to a millimetre.",
    ),
    ParameterSpec("frame_id", FRAME_ID, "The optical frame of all messages."),
)
"""Every parameter of the node; all are read once, at start-up."""
SLOW_WARNING_PERIOD_S = 30.0


class SimCameraNode(Node):
    """Publishes `image`, `camera_info`, `depth_in` and `truth`, each frame with one stamp.

    `image` is rgb8; `depth_in` is what a depth sensor makes of the scene (16UC1, millimetres,
    0 = hole); `truth` is the exact depth (32FC1, metres, +Inf = nothing there). A message that
    nobody subscribed to is not made. The scene's time begins with the first frame.

    Args:
        node_options: of `rclpy.node.Node` (`context`, `namespace`, `parameter_overrides` ...).

    Raises:
        ValueError: a parameter is not usable, or this machine has no MuJoCo or cannot render.
        rclpy.exceptions.ParameterException: a parameter is not usable, found by rclpy.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("sim_camera", **node_options)
        values = {}
        for spec in SPECS:
            descriptor = spec.descriptor()
            descriptor.read_only = True
            values[spec.name] = self.declare_parameter(spec.name, spec.default, descriptor).value
            spec.check(values[spec.name])
        self._values = values
        self._open_simulator()
        outputs = {"image": Image, "camera_info": CameraInfo, "depth_in": Image, "truth": Image}
        self._outputs = {
            name: self.create_publisher(kind, name, 1) for name, kind in outputs.items()
        }
        self._start_ns: int | None = None
        self._count = 0
        self._work_s = 0.0
        self._warnings = Throttle(SLOW_WARNING_PERIOD_S)
        # Steady: a simulation's paused clock must not pause the camera that feeds it.
        self._timer = self.create_timer(
            1 / values["rate_hz"], self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.get_logger().info(
            f"{values['kind']} scene {values['seed']}, {values['width']} x {values['height']} at "
            f"{values['rate_hz']:g} Hz on {self._outputs['image'].topic_name} and its siblings"
        )

    def close(self) -> None:
        """Free the renderer, and say how much was sent."""
        self.destroy_timer(self._timer)
        self._camera.close()
        each_ms = 1e3 * self._work_s / max(self._count, 1)
        self.get_logger().info(f"{self._count} frames sent, {each_ms:.1f} ms each to make")

    def _open_simulator(self) -> None:
        try:
            from ppd_core.sim.camera import RenderingUnavailableError, RgbdCamera
            from ppd_core.sim.depth_sensor import DepthSensorConfig, sense_depth
            from ppd_core.sim.motion import MovingScene
        except ModuleNotFoundError as error:
            if error.name != "mujoco":
                raise
            raise ValueError(
                "the simulated camera needs MuJoCo, which is not installed: pip install mujoco"
            ) from error
        values = self._values
        kind = None if values["kind"] == "any" else values["kind"]
        self._scene = MovingScene(values["seed"], kind)
        self._sense_depth = sense_depth
        self._sensor = DepthSensorConfig()
        try:
            self._camera = RgbdCamera(values["width"], values["height"])
            # For nobody: a size that the driver cannot draw shows itself only in a frame.
            self._camera.render(self._scene.scene, self._scene.move_to(0.0))
        except RenderingUnavailableError as error:
            raise ValueError(str(error)) from error

    def _on_timer(self) -> None:
        wanted = {name for name, p in self._outputs.items() if p.get_subscription_count() > 0}
        if not wanted:
            return
        begin_s = time.perf_counter()
        now = self.get_clock().now()
        self._send(wanted, now)
        took_s = time.perf_counter() - begin_s
        self._work_s += took_s
        self._count += 1
        if took_s > 1 / self._values["rate_hz"]:
            self._warn_of_slowness(took_s)

    def _send(self, wanted: set[str], now: Time) -> None:
        """Make and publish one frame."""
        if self._start_ns is None:
            self._start_ns = now.nanoseconds
        t_s = (now.nanoseconds - self._start_ns) / 1e9
        view = self._scene.move_to(t_s * self._values["motion_speed"])
        frame = self._camera.render(self._scene.scene, view)
        header = Header(stamp=now.to_msg(), frame_id=self._values["frame_id"])
        messages: dict[str, Any] = {}
        # The calibration first: a subscriber then has it when the image comes.
        if "camera_info" in wanted:
            messages["camera_info"] = intrinsics_to_info(frame.intrinsics, header)
        if "image" in wanted:
            messages["image"] = rgb_to_image(frame.image, header)
        if "depth_in" in wanted:
            depth = frame.depth
            if self._values["has_depth_faults"]:
                rng = np.random.default_rng([self._values["seed"], self._count])
                depth = self._sense_depth(
                    frame.depth, frame.image, frame.intrinsics, self._sensor, rng
                )
            messages["depth_in"] = depth_to_image_mm(depth, header)
        if "truth" in wanted:
            messages["truth"] = depth_to_image(frame.depth, header)
        for name, message in messages.items():
            self._outputs[name].publish(message)

    def _warn_of_slowness(self, took_s: float) -> None:
        rate_hz = self._values["rate_hz"]
        text = (
            f"a frame took {1e3 * took_s:.0f} ms to make, rate_hz {rate_hz:g} leaves "
            f"{1e3 / rate_hz:.0f} ms: frames are left out"
        )
        if words := self._warnings.passes("slow", text):
            self.get_logger().warning(words)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the camera until SIGINT or SIGTERM, and end the process: status 0 after either."""
    leave(run_node(lambda is_ending: SimCameraNode(), args))


if __name__ == "__main__":
    main()
