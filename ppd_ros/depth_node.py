"""The lifecycle node `ppd`: topics, transitions, and what is said in the log; no maths."""

from __future__ import annotations

import contextlib
import gc
import math
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.pipeline import DepthPipeline
from ppd_core.weights import WeightsError
from ppd_ros import parameters
from ppd_ros.anchors import check_model
from ppd_ros.diagnostics import AlignmentStatistics, FrameStatistics
from ppd_ros.frames import FrameProcessor, Pipeline
from ppd_ros.health import Health, HealthReporter
from ppd_ros.metres import MakeAligner, Metres
from ppd_ros.outputs import add_publishers
from ppd_ros.process import leave, run_node
from ppd_ros.silence import SilenceWatch
from ppd_ros.topics import subscribe_newest
from ppd_ros.transitions import refuse_illegal_transitions, reported
from ppd_ros.worker import POLL_S, Abandoned, Worker, call_abandonable

CLOSE_S = 1.0
"""How long the end of the process waits for the frame in hand."""


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


class DepthNode(LifecycleNode):
    """Images in; depth images, their calibration and point clouds out.

    Subscribes `image`, `camera_info` and, by `alignment.source`, `depth_in` or `lidar_in`;
    publishes what `outputs` lists, and `/diagnostics` in every state. `configure` loads the model
    and `cleanup` frees it; subscriptions and the worker's thread live while the node is active.

    Args:
        load_pipeline: makes a pipeline, which is called like `DepthPipeline`, of the settings.
        make_aligner: makes what ties the frames to metres.
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
        make_aligner: MakeAligner = FrameAligner,
        is_ending: Callable[[], bool] = lambda: False,
        **node_options: Any,
    ) -> None:
        super().__init__("ppd", **node_options)
        self._settings = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.statistics = FrameStatistics()
        self.alignment_statistics = AlignmentStatistics()
        self._load_pipeline = load_pipeline
        self._make_aligner = make_aligner
        self._is_ending = is_ending
        self._pipeline: Pipeline | None = None
        self._problem = ""
        self._outputs: dict[str, Any] = {}
        self._metres: Metres | None = None
        self._processor: FrameProcessor | None = None
        self._worker: Worker[Image] | None = None
        self._inputs: list[Subscription] = []
        self._watch: SilenceWatch | None = None
        self._give_up_s = math.inf
        self._image_topic = self.resolve_topic_name("image")
        self._info_topic = self.resolve_topic_name("camera_info")
        refuse_illegal_transitions(self)
        # Not in the callback of the parameters: subscribing declares parameters of its own.
        self._settings_changed = self.create_guard_condition(self._apply_alignment)
        self.create_service(Trigger, "~/reset_alignment", self._on_reset_alignment)
        self._reporter = HealthReporter(self, self._health)
        if self.get_parameter("autostart").value:
            # Not a timer: under use_sim_time it would wait for a clock.
            self.create_guard_condition(self._autostart).trigger()
        else:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager")

    @property
    def is_active(self) -> bool:
        """Whether frames are worked on."""
        return self._worker is not None

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the topics; FAILURE, to be tried again, when it cannot load."""
        settings = parameters.model_settings(parameters.current_values(self))
        log = self.get_logger()
        log.info(f"loading model {settings.model}")
        self._problem = ""
        try:
            pipeline = call_abandonable(lambda: self._load_pipeline(settings), self._is_ending)
            check_model(self._settings.alignment.source, pipeline)
        except Abandoned:
            log.info("loading given up: the process was asked to end")
            return TransitionCallbackReturn.FAILURE
        except (ValueError, WeightsError, OSError) as error:
            return self._fail_to_configure(f" {error}")
        except Exception:
            return self._fail_to_configure(f"\n{traceback.format_exc()}")
        self._pipeline = pipeline
        if not getattr(self._pipeline, "is_trained", True):
            log.warning(f"model {settings.model} is UNTRAINED: what comes out is not depth")
        try:
            add_publishers(self, self._outputs)
        except (RuntimeError, ValueError) as error:  # A value in qos_overrides that is none.
            self._release()
            return self._fail_to_configure(f" topics cannot be offered: {error}")
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and listen."""
        super().on_activate(state)
        assert self._pipeline is not None  # The state machine sees to it.
        alignment = self._settings.alignment
        self._metres = Metres(self, alignment, self.alignment_statistics, self._make_aligner)
        self._processor = FrameProcessor(
            self, self._pipeline, self._outputs, self._settings, self._metres, self.statistics
        )
        self._worker = Worker(self._processor.process, self._processor.report)
        self._worker.start()
        self._inputs = [
            subscribe_newest(self, Image, "image", self._on_image),
            subscribe_newest(self, CameraInfo, "camera_info", self._on_camera_info),
        ]
        self._watch = SilenceWatch(self, self._image_topic, self.statistics)
        outputs = ", ".join(p.topic_name for p in self._outputs.values())
        self.get_logger().info(
            f"active: {self._image_topic} and {self._info_topic} in; {outputs} out"
        )
        self._processor.remind_of_units()
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and end the worker; nothing is published after this."""
        self._stop_working()
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Withdraw the topics and free the model."""
        self._release()
        return super().on_cleanup(state)

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End everything, from any state, and say what was done."""
        if self._stop_working():
            self._release()
        self.get_logger().info(self.statistics.summary())
        return TransitionCallbackReturn.SUCCESS

    @reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: back to unconfigured, with nothing left over."""
        if self._stop_working():
            self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End all work, within little more than `CLOSE_S` when the process is ending."""
        with contextlib.suppress(RuntimeError):  # A lifecycle manager has shut it down before.
            self.trigger_shutdown()

    def _autostart(self) -> None:
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RuntimeError as error:
            self.get_logger().error(f"autostart: {error}")

    def _fail_to_configure(self, why: str) -> TransitionCallbackReturn:
        self._problem = f"cannot configure:{why}"
        self.get_logger().error(self._problem)
        return TransitionCallbackReturn.FAILURE

    def _stop_working(self) -> bool:
        """Undo `on_activate`; False when the worker's thread was left to its long call."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._processor = None
        if self._worker is not None:
            self._worker.stop()
        if self._metres is not None:
            self._metres.close()  # A frame that waits for a sensor must not keep us.
            self._metres = None
        if self._worker is None:
            return True
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
            settings = parameters.changed_settings(self, changes, is_configured=is_configured)
            if is_configured:
                check_model(settings.alignment.source, self._pipeline)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        if self._processor is not None:
            self._processor.settings = settings
            self._settings_changed.trigger()
        return SetParametersResult(successful=True)

    def _apply_alignment(self) -> None:
        if self._metres is not None:
            self._metres.apply(self._settings.alignment)

    def _on_reset_alignment(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if self._metres is None:
            response.success, response.message = False, "nothing to reset: the node is not active"
        else:
            response.success, response.message = self._metres.reset()
        self.get_logger().info(f"reset_alignment: {response.message}")
        return response

    def _health(self) -> Health:
        lifecycle = "inactive" if self._pipeline is not None else "unconfigured"
        model = {"model": self.get_parameter("model").value}
        for name in ("device", "dtype"):
            model[name] = str(getattr(self._pipeline, name, ""))
        return Health(
            lifecycle="active" if self.is_active else lifecycle,
            problem=self._problem,
            counts=self.statistics.counts,
            percentiles_ms=self.statistics.percentiles_ms(),
            alignment=self.alignment_statistics.health(),
            on_failure=self._settings.alignment.on_failure,
            hold_s=self._settings.alignment.config.hold_s,
            is_trained=getattr(self._pipeline, "is_trained", True),
            is_silent=self._watch is not None and self._watch.is_silent,
            model=model,
        )

    def _on_image(self, image: Image) -> None:
        if self._worker is None:
            return
        self.statistics.count("in")
        if self._worker.put(image):
            self.statistics.count("replaced")

    def _on_camera_info(self, info: CameraInfo) -> None:
        if self._processor is not None:
            self._processor.camera_infos.append(info)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, and end the process: status 0 after either."""
    leave(run_node(lambda is_ending: DepthNode(is_ending=is_ending), args))


if __name__ == "__main__":
    main()
