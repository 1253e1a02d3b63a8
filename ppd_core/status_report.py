"""What is said of a running part to those who watch over it, in the terms of /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OK, WARN, ERROR, STALE = range(4)
"""Levels, by the numbers of diagnostic_msgs/DiagnosticStatus."""


@dataclass(frozen=True)
class StatusReport:
    """How one thing fares at one moment; a message of any kind can be made of it.

    Args:
        name: what it is about, as "ppd/front: frames".
        level: `OK`, `WARN`, `ERROR` or `STALE`.
        message: the judgement in a few words.
        values: what it is founded on, key -> value as text, in the order they are shown.
        hardware_id: what it runs on, as "cuda", or "".

    Raises:
        ValueError: there is no such level.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
    hardware_id: str = ""

    def __post_init__(self) -> None:
        if self.level not in (OK, WARN, ERROR, STALE):
            raise ValueError(f"level must be 0, 1, 2 or 3, got {self.level!r}")
