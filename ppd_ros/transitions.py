"""What rclpy's lifecycle leaves out: errors are said, illegal requests refused, the end is one."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn


def reported(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., Any]:
    """Log what a transition raises: rclpy turns it into ERROR without a word."""

    @functools.wraps(transition)
    def call(self: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().error(f"{transition.__name__} raised:\n{traceback.format_exc()}")
            raise

    return call


def refuse_illegal_transitions(node: LifecycleNode) -> None:
    """Answer a request for a transition that the state does not have; rclpy raises instead."""
    service = node._service_change_state
    change_state = service.callback

    def answer(request: ChangeState.Request, response: ChangeState.Response) -> Any:
        try:
            return change_state(request, response)
        except RuntimeError as error:
            node.get_logger().warning(f"refused a lifecycle transition: {error}")
            response.success = False
            return response

    service.callback = answer


def release_state_machine(node: LifecycleNode) -> None:
    """Let go of what rclpy's destroy_node leaves behind; to be called after it.

    The state machine holds the node's handle, and with it the DDS participant and its shared
    memory, which would outlive the process.
    """
    node._state_machine = None
