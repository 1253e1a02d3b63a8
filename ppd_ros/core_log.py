"""What `ppd_core` warns of, in the log of the node."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

_CORE = logging.getLogger("ppd_core")


class CoreLog(logging.Handler):
    """Passes warnings and errors on, from any thread, until it is closed.

    Args:
        log: of the node.
    """

    def __init__(self, log: RcutilsLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        _CORE.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        say = self._log.warning if record.levelno < logging.ERROR else self._log.error
        say(record.getMessage())

    def close(self) -> None:
        """Pass on no more."""
        _CORE.removeHandler(self)
        super().close()
