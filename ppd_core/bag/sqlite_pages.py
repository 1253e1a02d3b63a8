"""Rows of rosbag2's messages from the pages of a SQLite file itself.

Where a page is damaged that leads to others, SQLite finds none of these, although each still says
all of its rows. They are looked for in the whole file, and a row counts that is in all its parts
what a row of messages must be.

Source: https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ppd_core.bag.read_at import read_at

_LEAF = 0x0D
_WINDOW_PAGES = 256
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
"""By serial type; 8 and 9 stand for the numbers 0 and 1."""


class PageRow(NamedTuple):
    """A row that was found.

    Attributes:
        key: its id.
        page: number of its page, from 0.
        start, size: of its record in the page, and with what is on other pages.
        data_at, data_size: of the message in the record.
    """

    key: int
    channel: int
    log_ns: int
    page: int
    start: int
    size: int
    data_at: int
    data_size: int


@dataclass(frozen=True)
class SqlitePages:
    """A database file as pages.

    Attributes:
        page_size: bytes.
        usable: bytes of a page that are not reserved.
    """

    file: BinaryIO
    page_size: int
    usable: int

    @staticmethod
    def of(file: BinaryIO) -> SqlitePages | None:
        """The pages, or None where the file's header does not tell their size."""
        header = read_at(file, 0, 100)
        size = int.from_bytes(header[16:18], "big")
        size = 2**16 if size == 1 else size
        if len(header) < 100 or size < 512 or size & (size - 1):
            return None
        return SqlitePages(file, size, size - header[20])

    def rows(
        self, channels: Container[int], first: int = 0, last: int = 2**62
    ) -> Iterator[PageRow]:
        """Rows of messages on pages, all unless told which, in the order of pages."""
        number = first
        while number <= last:
            count = min(_WINDOW_PAGES, last - number + 1)
            window = read_at(self.file, number * self.page_size, count * self.page_size)
            if not window:
                return
            for at in range(0, len(window), self.page_size):
                if window[at] == _LEAF:
                    page = window[at : at + self.page_size]
                    yield from self._rows_of(page, number + at // self.page_size, channels)
            number += _WINDOW_PAGES

    def data(self, row: PageRow) -> bytes | None:
        """The message of a row, or None where its pages are not all there."""
        page = read_at(self.file, row.page * self.page_size, self.page_size)
        here = self._bytes_here(row.size)
        parts = [page[row.start : row.start + here]]
        left = row.size - here
        following = int.from_bytes(page[row.start + here : row.start + here + 4], "big")
        while left > 0:
            if following < 2:
                return None
            page = read_at(self.file, (following - 1) * self.page_size, self.page_size)
            part = page[4 : 4 + min(left, self.usable - 4)]
            if len(part) < min(left, self.usable - 4):
                return None
            parts.append(part)
            left -= len(part)
            following = int.from_bytes(page[:4], "big")
        # The last page of a row leads to no other.
        if len(parts) > 1 and following:
            return None
        whole = b"".join(parts)
        return whole[row.data_at : row.data_at + row.data_size]

    def _rows_of(self, page: bytes, number: int, channels: Container[int]) -> Iterator[PageRow]:
        count = int.from_bytes(page[3:5], "big")
        if len(page) < self.page_size or 8 + 2 * count > self.usable:
            return
        for index in range(count):
            at = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
            row = self._row(page, number, at, channels) if at >= 8 + 2 * count else None
            if row is not None:
                yield row

    def _row(self, page: bytes, number: int, at: int, channels: Container[int]) -> PageRow | None:
        try:
            size, at = _varint(page, at)
            key, start = _varint(page, at)
            head_size, at = _varint(page, start)
            types = []
            for _ in range(4):
                one, at = _varint(page, at)
                types.append(one)
            # The id is not stored again: its column is null.
            widths = [_INTEGER_BYTES[one] for one in types[1:3]]
        except (IndexError, KeyError):
            return None
        data_size = (types[3] - 12) // 2
        is_row = types[0] == 0 and types[3] >= 12 and types[3] % 2 == 0 and at == start + head_size
        if not is_row or size != head_size + sum(widths) + data_size:
            return None
        if start + self._bytes_here(size) > self.usable or head_size + sum(widths) > size:
            return None
        channel = _integer(page, at, types[1], widths[0])
        log_ns = _integer(page, at + widths[0], types[2], widths[1])
        if channel not in channels or log_ns < 0:
            return None
        data_at = head_size + sum(widths)
        return PageRow(key, channel, log_ns, number, start, size, data_at, data_size)

    def _bytes_here(self, size: int) -> int:
        """How much of a record is on its own page."""
        most = self.usable - 35
        if size <= most:
            return size
        least = (self.usable - 12) * 32 // 255 - 23
        here = least + (size - least) % (self.usable - 4)
        return here if here <= most else least


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        one = data[at + index]
        value = value << 7 | one & 0x7F
        if one < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _integer(data: bytes, at: int, kind: int, width: int) -> int:
    if width == 0:
        return kind - 8
    return int.from_bytes(data[at : at + width], "big", signed=True)
