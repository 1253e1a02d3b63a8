"""The lifecycle node `ppd`: topics, transitions, and what is said in the log; no maths."""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.pipeline import DepthPipeline
from ppd_core.weights import WeightsError
from ppd_ros import conversions, parameters
from ppd_ros.diagnostics import FrameStatistics
from ppd_ros.frames import FrameProcessor, Pipeline
from ppd_ros.process import leave, run_node
from ppd_ros.topics import publish_newest, subscribe_newest
from ppd_ros.worker import POLL_S, Abandoned, Worker, call_abandonable

CLOSE_S = 1.0
"""How long the end of the process waits for the frame in hand."""
SILENCE_S = 5.0
"""After how long without an image the log says so."""


def load_pipeline(settings: parameters.ModelSettings) -> DepthPipeline:
    """Load what the parameters ask for; never downloads: a transition must not last minutes.

    Raises:
        ValueError: no such model, device or dtype.
        ppd_core.weights.WeightsError: a file is missing (and where to get it) or broken.
    """
    return DepthPipeline.from_pretrained(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        weights_dir=settings.weights_dir,
        download=False,
    )


def _reported(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., Any]:
    """Log what a transition raises: rclpy turns it into ERROR without a word."""

    @functools.wraps(transition)
    def call(self: DepthNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().error(f"{transition.__name__} raised:\n{traceback.format_exc()}")
            raise

    return call


class DepthNode(LifecycleNode):
    """Images in; depth images, their calibration and point clouds out.

    Subscribes `image` and `camera_info`; publishes `~/depth/image`, `~/depth/camera_info`,
    `~/points` and, where colcon built the message, `~/alignment`. `configure` loads the model
    and `cleanup` frees it; subscriptions and the worker's thread live while the node is active.

    Args:
        load_pipeline: makes a pipeline, which is called like `DepthPipeline`, of the settings.
        is_ending: says that the process was asked to end, so that nobody waits for the rest.
        node_options: of `rclpy.node.Node` (`context`, `namespace`, `parameter_overrides` ...).

    Raises:
        ValueError: a given parameter is not usable.
        rclpy.exceptions.ParameterException: the same, found by rclpy.
    """

    def __init__(
        self,
        *,
        load_pipeline: Callable[[parameters.ModelSettings], Pipeline] = load_pipeline,
        is_ending: Callable[[], bool] = lambda: False,
        **node_options: Any,
    ) -> None:
        super().__init__("ppd", **node_options)
        self._settings = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.statistics = FrameStatistics()
        self._load_pipeline = load_pipeline
        self._is_ending = is_ending
        self._pipeline: Pipeline | None = None
        self._outputs: dict[str, Any] = {}
        self._processor: FrameProcessor | None = None
        self._worker: Worker[Image] | None = None
        self._inputs: list[Subscription] = []
        self._watch: Timer | None = None
        self._received_before = 0
        self._is_silence_said = False
        self._give_up_s = math.inf
        self._image_topic = self.resolve_topic_name("image")
        self._info_topic = self.resolve_topic_name("camera_info")
        self._refuse_illegal_transitions()
        if self.get_parameter("autostart").value:
            # Not a timer: under use_sim_time it would wait for a clock.
            self.create_guard_condition(self._autostart).trigger()
        else:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager")

    @property
    def is_active(self) -> bool:
        """Whether frames are worked on."""
        return self._worker is not None

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the topics; FAILURE, to be tried again, when it cannot load."""
        settings = parameters.model_settings(parameters.current_values(self))
        log = self.get_logger()
        log.info(f"loading model {settings.model}")
        try:
            self._pipeline = call_abandonable(
                lambda: self._load_pipeline(settings), self._is_ending
            )
        except Abandoned:
            log.info("loading given up: the process was asked to end")
            return TransitionCallbackReturn.FAILURE
        except (ValueError, WeightsError, OSError) as error:
            log.error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            log.error(f"cannot configure:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        if not getattr(self._pipeline, "is_trained", True):
            log.warning(f"model {settings.model} is UNTRAINED: what comes out is not depth")
        try:
            self._create_publishers()
        except (RuntimeError, ValueError) as error:  # A value in qos_overrides that is none.
            log.error(f"cannot configure: topics cannot be offered: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and listen."""
        super().on_activate(state)
        assert self._pipeline is not None  # The state machine sees to it.
        self._processor = FrameProcessor(
            self, self._pipeline, self._outputs, self._settings, self.statistics
        )
        self._worker = Worker(self._processor.process, self._processor.report)
        self._worker.start()
        self._inputs = [
            subscribe_newest(self, Image, "image", self._on_image),
            subscribe_newest(self, CameraInfo, "camera_info", self._on_camera_info),
        ]
        self._received_before = self.statistics.counts["in"]
        self._is_silence_said = False
        self._watch = self.create_timer(
            SILENCE_S, self._on_watch, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        outputs = ", ".join(p.topic_name for p in self._outputs.values())
        self.get_logger().info(
            f"active: {self._image_topic} and {self._info_topic} in; {outputs} out"
        )
        self._processor.remind_of_units()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and end the worker; nothing is published after this."""
        self._stop_working()
        return super().on_deactivate(state)

    @_reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Withdraw the topics and free the model."""
        self._release()
        return super().on_cleanup(state)

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End everything, from any state, and say what was done."""
        if self._stop_working():
            self._release()
        self.get_logger().info(self.statistics.summary())
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: back to unconfigured, with nothing left over."""
        if self._stop_working():
            self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End all work, within little more than `CLOSE_S` when the process is ending."""
        with contextlib.suppress(RuntimeError):  # A lifecycle manager has shut it down before.
            self.trigger_shutdown()

    def _refuse_illegal_transitions(self) -> None:
        """Answer a request for a transition that the state does not have; rclpy raises instead."""
        service = self._service_change_state
        change_state = service.callback

        def answer(request: ChangeState.Request, response: ChangeState.Response) -> Any:
            try:
                return change_state(request, response)
            except RuntimeError as error:
                self.get_logger().warning(f"refused a lifecycle transition: {error}")
                response.success = False
                return response

        service.callback = answer

    def _autostart(self) -> None:
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RuntimeError as error:
            self.get_logger().error(f"autostart: {error}")

    def _create_publishers(self) -> None:
        # One by one: when one cannot be made, `_release` finds those that were.
        self._outputs["depth"] = publish_newest(self, Image, "~/depth/image")
        self._outputs["camera_info"] = publish_newest(self, CameraInfo, "~/depth/camera_info")
        self._outputs["points"] = publish_newest(self, PointCloud2, "~/points")
        alignment_type = conversions.alignment_type()
        if alignment_type is None:
            self.get_logger().info("no ~/alignment: ppd_ros/msg/Alignment needs a colcon build")
        else:
            self._outputs["alignment"] = publish_newest(self, alignment_type, "~/alignment")

    def _stop_working(self) -> bool:
        """Undo `on_activate`; False when the worker's thread was left to its long call."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._watch is not None:
            self.destroy_timer(self._watch)
            self._watch = None
        self._processor = None
        if self._worker is None:
            return True
        self._worker.stop()
        while not self._worker.join(POLL_S):
            if self._is_ending():
                self._give_up_s = min(self._give_up_s, time.monotonic() + CLOSE_S)
            if time.monotonic() > self._give_up_s:
                return False
        self._worker = None
        return True

    def _release(self) -> None:
        """Undo `on_configure`."""
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs = {}
        self._pipeline = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        is_configured = self._pipeline is not None
        try:
            self._settings = parameters.changed_settings(
                self, changes, is_configured=is_configured
            )
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._processor is not None:
            self._processor.settings = self._settings
        return SetParametersResult(successful=True)

    def _on_image(self, image: Image) -> None:
        if self._worker is None:
            return
        self.statistics.count("in")
        if self._worker.put(image):
            self.statistics.count("replaced")

    def _on_camera_info(self, info: CameraInfo) -> None:
        if self._processor is not None:
            self._processor.camera_infos.append(info)

    def _on_watch(self) -> None:
        received = self.statistics.counts["in"]
        if received == self._received_before and not self._is_silence_said:
            self.get_logger().warning(
                f"no image on {self._image_topic} for {SILENCE_S:g} s: it has "
                f"{self.count_publishers(self._image_topic)} publishers "
                "(to use another topic: --ros-args -r image:=/camera/image_raw)"
            )
        self._is_silence_said = received == self._received_before
        self._received_before = received


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, and end the process: status 0 after either."""
    leave(run_node(lambda is_ending: DepthNode(is_ending=is_ending), args))


if __name__ == "__main__":
    main()
