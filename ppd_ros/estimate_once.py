"""The service `~/estimate_once`: one frame by the settings of `quality.*`, and its outcome."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

WAIT_S = 5.0
"""How long a request waits for a frame to come."""


class EstimateOnce:
    """Hands the next frame of a camera to whoever asks for it.

    The answer goes out when the frame does; callers that ask before a frame came share it. All
    but `answer` is called in the thread that spins.

    Args:
        node: offers the service.
        service: its name.
        why_not: why no frame can be asked for now, or "".
    """

    def __init__(self, node: Node, service: str, why_not: Callable[[], str]) -> None:
        self._why_not = why_not
        self._waiting: Future | None = None
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(WAIT_S, self._give_up, clock=clock)
        self._timer.cancel()
        self._answered = node.create_guard_condition(lambda: None)
        # Of its own: a request that waits must not keep the node's other callbacks from running.
        group = ReentrantCallbackGroup()
        node.create_service(Trigger, service, self._on_request, callback_group=group)

    def take(self) -> Future | None:
        """The request that this very frame is for, to be answered with `answer`; None if none."""
        request, self._waiting = self._waiting, None
        if request is not None:
            self._timer.cancel()
        return request

    def refuse(self, why: str) -> None:
        """Answer the request that waits for a frame, if there is one."""
        if (request := self.take()) is not None:
            answer(request, False, why)

    async def _on_request(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if why_not := self._why_not():
            response.success, response.message = False, why_not
            return response
        if self._waiting is None:
            self._waiting = Future()
            # The answer comes from another thread, for which the one that spins does not wake.
            self._waiting.add_done_callback(lambda _: self._answered.trigger())
            self._timer.reset()
        response.success, response.message = await self._waiting
        return response

    def _give_up(self) -> None:
        self.refuse(f"no image came within {WAIT_S:g} s")


def answer(request: Future, is_done: bool, text: str) -> None:
    """Answer a request; from any thread."""
    request.set_result((is_done, text))
