"""One node in one process: signals, spinning, a clean end with a deadline, the exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol, cast

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ppd_ros.memory import keep_freed_memory
from ppd_ros.middleware import make_room
from ppd_ros.worker import threads_alive

LAST_SPINS = 5
"""How many callbacks are still run when a node was closed: answers to those who wait for one."""
SPIN_S = 0.1
"""How long a signal may wait until the spinning thread looks at it."""


class ClosableNode(Protocol):
    """A `rclpy.node.Node` that can end its work."""

    def close(self) -> None:
        """End all work, in about a second; a thread that cannot be ended is left alone."""

    def destroy_node(self) -> None:
        """See `rclpy.node.Node`."""


class StopSignals:
    """SIGINT and SIGTERM as one flag; the second and later ones change nothing.

    rclpy's own handlers end the context at once, under the feet of a thread that publishes, and
    a second SIGINT (`ros2 launch` sends one more to those that got Ctrl-C from the terminal)
    then ends in a traceback.
    """

    def __init__(self) -> None:
        self._is_requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def is_requested(self) -> bool:
        """Whether a signal came."""
        return self._is_requested

    def ignore(self) -> None:
        """Ignore both from here to the end of the process, which is then as good as requested."""
        self._is_requested = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: object) -> None:
        # A plain flag: an Event's lock may be held by the very code that was interrupted.
        self._is_requested = True


def run_node(
    make_node: Callable[[Callable[[], bool]], ClosableNode],
    args: list[str] | None = None,
    *,
    is_done: Callable[[], bool] = lambda: False,
) -> int:
    """Run a node until SIGINT or SIGTERM, or until it is done.

    Args:
        make_node: called with a function that says whether the process was asked to end.
        args: command line, with `--ros-args`; None is that of the process.
        is_done: asked after each callback, and every `SPIN_S` seconds at least.

    Returns:
        The exit status: 0 after a signal or when done, 1 when the node could not be made or a
        callback raised. Give it to `leave`, if a thread of `ppd_ros.worker` may be left.
    """
    signals = StopSignals()
    keep_freed_memory()
    make_room()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # A slip after --ros-args, a parameter file that is not there.
        print(f"cannot start: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    executor = SingleThreadedExecutor()
    node, status = None, 1
    try:
        node = make_node(signals.is_requested)
        executor.add_node(cast(Node, node))  # Python has no type for both at once.
        while not (signals.is_requested() or is_done()):
            executor.spin_once(timeout_sec=SPIN_S)
        status = 0
    except (ValueError, ParameterException) as error:
        get_logger("ppd").fatal(str(error))
    except Exception:
        get_logger("ppd").fatal(traceback.format_exc())
    signals.ignore()
    if node is not None:
        node.close()
    if node is not None and not threads_alive():
        for _ in range(LAST_SPINS):
            executor.spin_once(timeout_sec=0)
        executor.shutdown()
        node.destroy_node()
    rclpy.shutdown()
    return status


def leave(status: int) -> NoReturn:
    """End the process here and now, when all that matters is closed.

    Python would first take itself apart: with torch loaded that lasts up to a second or two, and
    a thread that still sits in a long call of the model would crash in it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
