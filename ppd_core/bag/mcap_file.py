"""An MCAP file, whole or damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ppd_core.bag.damaged_chunk import Indexes, loss
from ppd_core.bag.log_order import Block, Entry
from ppd_core.bag.mcap_chunk import (
    Record,
    doubtful_records,
    proven_records,
    read_indexes,
    unpack_chunk,
)
from ppd_core.bag.mcap_records import MESSAGE, ChunkPlace, MalformedError
from ppd_core.bag.mcap_summary import McapIndex, read_summary
from ppd_core.bag.mcap_walk import McapWalk
from ppd_core.bag.recording import Gap, Tell

_TRIES = 16
"""Chunks that are looked through for a channel's declaration, which its first one should have."""


class McapFile:
    """See `StoredFile`.

    Raises:
        ValueError: it is no MCAP file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._file = path.open("rb")
        try:
            size = self._file.seek(0, 2)
            index = read_summary(self._file, size)
            if not index.chunks:
                index = McapWalk(self._file, size, path, tell, index).go()
                self._learn(index)
        except BaseException:
            self._file.close()
            raise
        self.channels, self.counts = index.channels, index.counts
        self._known = frozenset(index.channels) | index.others
        self.blocks = [Block(one.begin_ns, one.end_ns, one.channels, one) for one in index.chunks]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def load(self, block: Block, wanted: frozenset[int]) -> Iterable[Entry]:
        """Messages of the wanted channels; what is lost is told and left out."""
        place: ChunkPlace = block.place
        unpacked = unpack_chunk(self._file, place)
        data = unpacked.data
        if unpacked.is_proven:
            return [
                Entry(one.log_ns, one.channel, data, one.start, one.stop)
                for one in proven_records(data)
                if one.opcode == MESSAGE and one.channel in wanted
            ]
        entries, is_whole = [], not unpacked.problem
        indexes = read_indexes(self._file, place)
        for record in doubtful_records(data, place, self._known, indexes):
            if record is None:
                is_whole = False
            elif record.opcode == MESSAGE and record.channel in wanted:
                entries.append(
                    Entry(record.log_ns, record.channel, data, record.start, record.stop)
                )
        if not is_whole:
            self._tell_of(place, unpacked.problem, indexes, wanted, len(entries))
        return entries

    def _tell_of(
        self,
        place: ChunkPlace,
        problem: str,
        indexes: Indexes | None,
        wanted: frozenset[int],
        given: int,
    ) -> None:
        detail = f"the chunk of {place.size} bytes at {place.offset} is damaged"
        detail += f", {problem}" if problem else ""
        lost = loss(indexes, wanted, given)
        if lost is not None:
            self._tell(Gap(self._path, place.begin_ns, place.end_ns, detail + lost))

    def _learn(self, index: McapIndex) -> None:
        """Find the declarations in the chunks, and count where no index does."""
        counts, tries = Counter(index.counts or {}), Counter[int]()
        for number, place in enumerate(index.chunks):
            known = index.channels.keys() | index.others
            missing = {key for key in place.channels or () if key not in known}
            missing = {key for key in missing if tries[key] < _TRIES}
            if place.channels is not None and not missing:
                continue
            tries.update(missing)
            found, is_whole = self._declared(index, place)
            # Of a damaged one it stays unknown, so that whoever reads it meets the damage.
            if place.channels is None and is_whole:
                index.chunks[number] = place._replace(channels=frozenset(found))
            if place.channels is None:
                counts += found
        index.counts = dict(counts)
        for key in counts.keys() - index.channels.keys() - index.others:
            detail = f"{counts[key]} messages are of topic number {key}, whose declaration is lost"
            self._tell(Gap(self._path, None, None, detail))

    def _declared(self, index: McapIndex, place: ChunkPlace) -> tuple[Counter[int], bool]:
        """Take in a chunk's declarations; its messages by channel, and whether it is whole."""
        unpacked = unpack_chunk(self._file, place)
        data, counts, is_whole = unpacked.data, Counter[int](), not unpacked.problem
        records: Iterable[Record | None]
        if unpacked.is_proven:
            records = proven_records(data)
        else:
            records = doubtful_records(data, place, _Any(), None)
        for record in records:
            if record is None:
                return counts, False
            if record.opcode == MESSAGE:
                counts[record.channel] += 1
                continue
            try:
                index.add(record.opcode, data[record.start : record.stop])
            except MalformedError:
                continue
        return counts, is_whole


class _Any:
    """Has every channel."""

    def __contains__(self, key: object) -> bool:
        return True
