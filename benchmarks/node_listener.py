"""A subscriber as a process: `python -m node_listener FILE TOPIC ...`, until SIGINT.

FILE becomes a JSON object: topic -> [[stamp in ns, seconds from the stamp to the callback], ...].
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from node_topics import NEWEST, OUTPUTS, stamp_ns
from rclpy.node import Node

from ppd_ros.process import leave, run_node


class Listener(Node):
    """Notes of each message how old it is."""

    def __init__(self, path: Path, topics: list[str]) -> None:
        super().__init__("listener")
        self._path = path
        self._ages_s: dict[str, list[tuple[int, float]]] = {topic: [] for topic in topics}
        for topic in topics:
            self.create_subscription(OUTPUTS[topic], topic, partial(self._note, topic), NEWEST)

    def close(self) -> None:
        """Write down what came."""
        self._path.write_text(json.dumps(self._ages_s))

    def _note(self, topic: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
        self._ages_s[topic].append((stamp, (time.time_ns() - stamp) / 1e9))


if __name__ == "__main__":
    leave(run_node(lambda is_ending: Listener(Path(sys.argv[1]), sys.argv[2:])))
