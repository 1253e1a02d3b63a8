"""Messages that are copied while frames are made of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ppd_core.bag.recording import BagMessage, MessageSource


class StoppedError(Exception):
    """The run is to end, wherever its reading is.

    An error and not an end: at an end frames would be given without what they still wait for.
    """


class Copier:
    """Reads as a `BagReader` does, and gives away on the way what is to be copied.

    Args:
        reader: open.
        copy: takes a message that is to be copied.
        kept: topics of those.
        first: so many of them were copied before, and are left out.
        is_stopped: asked before each message.
    """

    def __init__(
        self,
        reader: MessageSource,
        copy: Callable[[BagMessage], None],
        kept: Collection[str],
        *,
        first: int,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._reader, self._copy = reader, copy
        self.topics, self.deserialize = reader.topics, reader.deserialize
        self._kept = frozenset(kept)
        self._left_out = first
        self._is_stopped = is_stopped

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """See `BagReader.messages`.

        Raises:
            StoppedError: the run is to end.
        """
        wanted = frozenset(topics)
        for message in self._reader.messages(wanted | self._kept):
            if self._is_stopped():
                raise StoppedError
            if message.topic in self._kept:
                if self._left_out:
                    self._left_out -= 1
                else:
                    self._copy(message)
            if message.topic in wanted:
                yield message
