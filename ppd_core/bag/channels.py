"""A topic as one file of a recording declares it, and what files of all formats can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ppd_core.bag.log_order import Block, Entry


class Channel(NamedTuple):
    """Declared in a file under an id that its messages carry.

    Attributes:
        encoding: of the messages, "cdr" or "ros1".
        format: of the definition, "ros2msg", "ros2idl", "ros1msg" or "" for none.
        qos: as text or as what YAML gave.
        is_latching: of ROS 1.
    """

    topic: str
    msgtype: str
    definition: str
    format: str
    digest: str = ""
    encoding: str = "cdr"
    qos: Any = ""
    is_latching: bool = False


class StoredFile(Protocol):
    """One file of a recording, whichever its format."""

    @property
    def channels(self) -> Mapping[int, Channel]:
        """By the ids that blocks and entries carry."""

    @property
    def counts(self) -> Mapping[int, int] | None:
        """Messages a channel has; None if the file does not say."""

    @property
    def blocks(self) -> Sequence[Block]:
        """All of the file."""

    def load(self, block: Block, wanted: frozenset[int]) -> Iterable[Entry]:
        """Messages of the wanted channels; what is lost is told and left out."""

    def close(self) -> None:
        """Let go of the file."""
