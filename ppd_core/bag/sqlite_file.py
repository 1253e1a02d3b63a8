"""A file of rosbag2's SQLite storage, whole or damaged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from ppd_core.bag.channels import Channel
from ppd_core.bag.log_order import Block, Entry
from ppd_core.bag.recording import Tell

RUN_BYTES = 4 * 2**20
RUN_ROWS = 2000
"""Rows are read in runs that end at either."""


class SqliteFile:
    """See `StoredFile`.

    The index of timestamps is not used, so that it may be damaged or missing: one pass over the
    table notes the times of each run of rows.

    Raises:
        ValueError: it is no recording.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
        try:
            self.channels = _channels(self._database)
            self._list()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ValueError(f"{path} must be a recording of rosbag2: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _list(self) -> None:
        self.blocks: list[Block] = []
        self._counts: Counter[int] = Counter()
        rows = self._database.execute(
            "SELECT id, topic_id, timestamp, length(data) FROM messages ORDER BY id"
        )
        run: list[tuple[int, int, int]] = []
        held = 0
        for key, channel, log_ns, size in rows:
            run.append((key, channel, log_ns))
            held += size
            if held >= RUN_BYTES or len(run) >= RUN_ROWS:
                self._add(run)
                run, held = [], 0
        self._add(run)
        self.counts = dict(self._counts)

    def _add(self, run: list[tuple[int, int, int]]) -> None:
        if run:
            times = [log_ns for _, _, log_ns in run]
            counts = Counter(channel for _, channel, _ in run)
            self._counts += counts
            place = run[0][0], run[-1][0]
            self.blocks.append(Block(min(times), max(times), frozenset(counts), place))

    def load(self, block: Block, wanted: frozenset[int]) -> Iterable[Entry]:
        """Messages of the wanted channels; what is lost is told and left out."""
        marks = ",".join("?" * len(wanted))
        rows = self._database.execute(
            "SELECT topic_id, timestamp, data FROM messages "
            f"WHERE id BETWEEN ? AND ? AND topic_id IN ({marks}) ORDER BY id",
            (*block.place, *wanted),
        )
        return [Entry(log_ns, channel, data, 0, len(data)) for channel, log_ns, data in rows]


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info(topics)")}
    if not {"id", "name", "type"} <= columns:
        raise ValueError("it has no topics")
    chosen = [
        name if name in columns else "''"
        for name in (
            "id", "name", "type", "serialization_format", "offered_qos_profiles",
            "type_description_hash",
        )
    ]  # fmt: skip
    definitions = {}
    if database.execute(
        "SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'"
    ).fetchone():
        definitions = {
            name: (form, text)
            for name, form, text in database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            )
        }
    channels = {}
    for key, name, msgtype, encoding, qos, digest in database.execute(
        f"SELECT {', '.join(chosen)} FROM topics"
    ):
        form, text = definitions.get(msgtype, ("", ""))
        if encoding in ("cdr", ""):
            channels[key] = Channel(name, msgtype, text, form if text else "", digest, "cdr", qos)
    return channels
