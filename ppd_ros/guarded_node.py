"""A lifecycle node that outlives what its callbacks raise."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.guard_condition import GuardCondition
from rclpy.lifecycle import LifecycleNode
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from ppd_core.throttle import Throttle

WARNING_PERIOD_S = 5.0


class GuardedNode(LifecycleNode):
    """A lifecycle node none of whose callbacks can end the executor.

    rclpy lets what a callback raises end the process. Here every subscription, timer, service,
    guard condition and middleware event of the node is guarded, those that rclpy (/clock) and
    tf2 make of it included: an exception is logged, now and then for each callback, and counted.
    A service that failed answers with an empty response. Transitions are the state machine's;
    see `transitions.reported`.

    Args:
        arguments, options: of `rclpy.lifecycle.LifecycleNode`.

    Attributes:
        num_callback_errors: how many callbacks raised.
        callback_error: which one did last, and what; or "".
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Before rclpy's own, which already subscribes.
        self.num_callback_errors = 0
        self.callback_error = ""
        self._callback_warnings = Throttle(WARNING_PERIOD_S)
        super().__init__(*arguments, **options)

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Subscription:
        """See `rclpy.node.Node`."""
        guarded = self._guarded(f"the subscription of {topic}", callback)
        return super().create_subscription(msg_type, topic, guarded, *args, **kwargs)

    def create_timer(
        self, timer_period_sec: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        """See `rclpy.node.Node`."""
        guarded = self._guarded(f"the timer of {_name(callback)}", callback)
        return super().create_timer(timer_period_sec, guarded, *args, **kwargs)

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Service:
        """See `rclpy.node.Node`."""
        guarded = self._guarded(f"the service {srv_name}", callback)
        return super().create_service(srv_type, srv_name, guarded, *args, **kwargs)

    def create_guard_condition(
        self, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GuardCondition:
        """See `rclpy.node.Node`."""
        guarded = self._guarded(_name(callback), callback)
        return super().create_guard_condition(guarded, *args, **kwargs)

    def add_waitable(self, waitable: Any) -> None:
        """See `rclpy.node.Node`; events of publishers and subscriptions come this way."""
        if callable(callback := getattr(waitable, "callback", None)):
            waitable.callback = self._guarded(f"the event of {_name(callback)}", callback)
        super().add_waitable(waitable)

    def _guarded(self, what: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        # What a service is called with last is the response; nobody looks at another's answer.
        if inspect.iscoroutinefunction(callback):

            @functools.wraps(callback)
            async def call_async(*arguments: Any) -> Any:
                try:
                    return await callback(*arguments)
                except Exception as error:
                    self._note(what, error)
                    return arguments[-1] if arguments else None

            return call_async

        @functools.wraps(callback)
        def call(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                self._note(what, error)
                return arguments[-1] if arguments else None

        return call

    def _note(self, what: str, error: Exception) -> None:
        self.num_callback_errors += 1
        self.callback_error = f"{what} raised {type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        text = f"{what} raised; the node goes on:\n{trace}"
        if words := self._callback_warnings.passes(what, text):
            self.get_logger().error(words)


def _name(callback: Callable[..., Any]) -> str:
    return str(getattr(callback, "__qualname__", callback))
