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
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.health import CameraHealth, NodeHealth
from ppd_core.threads import set_threads
from ppd_core.weights import WeightsError
from ppd_ros import parameters
from ppd_ros.anchors import check_model
from ppd_ros.batches import BatchProcessor, Job, Pipeline, check_effort
from ppd_ros.camera import Camera, check_topics
from ppd_ros.core_log import CoreLog
from ppd_ros.guarded_node import GuardedNode
from ppd_ros.health import HealthReporter
from ppd_ros.metres import MakeAligner
from ppd_ros.model_loading import load_pipeline, process_age_s, ready_pipeline, told
from ppd_ros.model_parameters import ModelSettings, model_settings
from ppd_ros.output_parameters import topic_settings
from ppd_ros.process import leave, run_node
from ppd_ros.transitions import refuse_illegal_transitions, release_state_machine, reported
from ppd_ros.worker import POLL_S, Abandoned, Worker, call_abandonable

CLOSE_S = 1.0
"""How long the end of the process waits for the frame in hand."""


class DepthNode(GuardedNode):
    """Images in; depth images, their calibration and point clouds out.

    Subscribes `image`, `camera_info` and, by `alignment.source`, `depth_in` or `lidar_in`, of each
    of its `cameras`; publishes what `outputs` lists, and `/diagnostics` in every state.
    `configure` loads the model and `cleanup` frees it; subscriptions and the worker's thread live
    while the node is active.

    Args:
        load_pipeline: makes a pipeline, which is called like `DepthPipeline`, of the settings.
        make_aligner: makes what ties the frames to metres.
        is_ending: says that the process was asked to end, so that nobody waits for the rest.
        node_options: of `rclpy.node.Node` (`context`, `namespace`, `parameter_overrides` ...).

    Attributes:
        cameras: one at least.

    Raises:
        ValueError: a given parameter is not usable.
        rclpy.exceptions.ParameterException: the same, found by rclpy.
    """

    def __init__(
        self,
        *,
        load_pipeline: Callable[[ModelSettings], Pipeline] = load_pipeline,
        make_aligner: MakeAligner = FrameAligner,
        is_ending: Callable[[], bool] = lambda: False,
        **node_options: Any,
    ) -> None:
        super().__init__("ppd", **node_options)
        self._settings = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._load_pipeline = load_pipeline
        self._make_aligner = make_aligner
        self._is_ending = is_ending
        self._pipeline: Pipeline | None = None
        self._problem = ""
        self._worker: Worker[Job] | None = None
        self._give_up_s = math.inf
        self._start_up_s = process_age_s()
        names = parameters.camera_names(parameters.current_values(self))
        self.cameras = [Camera(self, name) for name in names]
        self._core_log = CoreLog(self.get_logger())
        refuse_illegal_transitions(self)
        # Not in the callback of the parameters: subscribing declares parameters of its own.
        self._settings_changed = self.create_guard_condition(self._apply_settings)
        # Not in the worker's thread, which would wait for its own end.
        self._stop_wanted = self.create_guard_condition(self._stop_by_itself)
        self.create_service(Trigger, "~/reset_alignment", self._on_reset_alignment)
        self._reporter = HealthReporter(self, self._healths)
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
        """Load the model, warm it up and offer the topics; FAILURE, to be tried again, when it
        cannot load."""
        values = parameters.current_values(self)
        settings, frames = model_settings(values), self._settings
        log = self.get_logger()
        log.info(f"loading model {settings.model}")
        self._problem = ""
        batch_sizes = range(1, len(self.cameras) + 1)  # As many as wait at a time.
        try:
            pipeline, seconds = call_abandonable(
                lambda: ready_pipeline(
                    self._load_pipeline,
                    settings,
                    frames.effort,
                    batch_sizes,
                    log.warning,
                    is_warm_started=frames.is_warm_started,
                ),
                self._is_ending,
            )
            check_model(self._settings.alignment.source, pipeline)
            check_effort(self._settings, pipeline)
        except Abandoned:
            log.info("loading given up: the process was asked to end")
            return TransitionCallbackReturn.FAILURE
        except (ValueError, WeightsError, OSError) as error:
            return self._fail_to_configure(f" {error}")
        except Exception:
            return self._fail_to_configure(f"\n{traceback.format_exc()}")
        self._pipeline = pipeline
        self._tell_ready(seconds)
        if not getattr(self._pipeline, "is_trained", True):
            log.warning(f"model {settings.model} is UNTRAINED: what comes out is not depth")
        try:
            for camera in self.cameras:
                camera.offer(topic_settings(values))
            check_topics(self.cameras)
        except (RuntimeError, ValueError) as error:  # A value in qos_overrides that is none.
            self._release()
            return self._fail_to_configure(f" topics cannot be offered: {error}")
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and listen."""
        super().on_activate(state)
        assert self._pipeline is not None  # The state machine sees to it.
        self._problem = ""
        log = self.get_logger()
        processor = BatchProcessor(self._pipeline, log.warning, self._want_stop)
        self._worker = Worker(processor.process, self._report)
        self._worker.start()
        is_compressed = self.get_parameter("image_transport").value == "compressed"
        for camera in self.cameras:
            camera.listen(
                self._worker, self._settings, self._make_aligner, is_compressed=is_compressed
            )
        inputs = ", ".join(i.topic_name for camera in self.cameras for i in camera.inputs)
        outputs = ", ".join(p.topic_name for c in self.cameras for p in c.outputs.values())
        log.info(f"active: {inputs} in; {outputs} out")
        self._remind_of_units()
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
        for camera in self.cameras:
            name = f"{camera.topics.name}: " if camera.topics.name else ""
            self.get_logger().info(f"{name}{camera.statistics.summary()}")
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

    def destroy_node(self) -> None:
        """See `rclpy.node.Node`; after `close`."""
        self._core_log.close()
        super().destroy_node()
        release_state_machine(self)

    def _autostart(self) -> None:
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RuntimeError as error:
            self.get_logger().error(f"autostart: {error}")

    def _tell_ready(self, seconds: dict[str, float]) -> None:
        """Once with what the process itself took: later, somebody else's time would be in it."""
        start_up_s, self._start_up_s = self._start_up_s, None
        if start_up_s is not None:
            seconds = {"start and imports": start_up_s, **seconds}
        self.get_logger().info("the model is ready" + (f": {told(seconds)}" if seconds else ""))

    def _fail_to_configure(self, why: str) -> TransitionCallbackReturn:
        self._problem = f"cannot configure:{why}"
        self.get_logger().error(self._problem)
        return TransitionCallbackReturn.FAILURE

    def _stop_working(self) -> bool:
        """Undo `on_activate`; False when the worker's thread was left to its long call."""
        for camera in self.cameras:
            camera.stop_listening()
        left = self._worker.stop() if self._worker is not None else []
        for frames, frame in left:
            frames.leave(frame, "the node was deactivated before it was its turn")
        for camera in self.cameras:
            camera.release()  # A frame that waits for a sensor must not keep us.
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
        for camera in self.cameras:
            camera.withdraw()
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
                check_effort(settings, self._pipeline)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        for camera in self.cameras:
            camera.set(settings)
        self._settings_changed.trigger()
        return SetParametersResult(successful=True)

    def _apply_settings(self) -> None:
        for camera in self.cameras:
            camera.apply(self._settings)

    def _on_reset_alignment(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        answers = [c.metres.reset() for c in self.cameras if c.metres is not None]
        response.success = bool(answers) and all(is_reset for is_reset, _ in answers)
        response.message = "; ".join(text for _, text in answers)
        if not answers:
            response.message = "nothing to reset: the node is not active"
        self.get_logger().info(f"reset_alignment: {response.message}")
        return response

    def _want_stop(self, why: str) -> None:
        self._problem = why
        self._stop_wanted.trigger()

    def _stop_by_itself(self) -> None:
        if self.is_active:
            self.get_logger().error(f"deactivating: {self._problem}")
            self.trigger_deactivate()

    def _report(self, error: Exception) -> None:
        self.get_logger().error("".join(traceback.format_exception(error)))

    def _remind_of_units(self) -> None:
        for camera in self.cameras:
            assert camera.frames is not None
            camera.frames.remind_of_units()

    def _healths(self) -> list[CameraHealth]:
        lifecycle = "inactive" if self._pipeline is not None else "unconfigured"
        model = {"model": self.get_parameter("model").value}
        for name in ("device", "dtype"):
            model[name] = str(getattr(self._pipeline, name, ""))
        if (backend := getattr(self._pipeline, "backend", None)) is not None:
            model |= {"backend": backend.name, **backend.facts}
        state = NodeHealth(
            lifecycle="active" if self.is_active else lifecycle,
            problem=self._problem,
            is_trained=getattr(self._pipeline, "is_trained", True),
            model=model,
            num_callback_errors=self.num_callback_errors,
            callback_error=self.callback_error,
            fallbacks=getattr(self._pipeline, "fallbacks", ()),
        )
        return [camera.health(state, self._settings.alignment) for camera in self.cameras]


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, and end the process: status 0 after either."""
    set_threads()
    leave(run_node(lambda is_ending: DepthNode(is_ending=is_ending), args))


if __name__ == "__main__":
    main()
