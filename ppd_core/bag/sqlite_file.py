"""A file of rosbag2's SQLite storage, whole or damaged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ppd_core.bag.channels import Channel
from ppd_core.bag.log_order import Block, Entry
from ppd_core.bag.recording import Gap, Tell
from ppd_core.bag.sqlite_rows import LostRows, Row, in_rising_order, rows_around_damage

RUN_BYTES = 4 * 2**20
RUN_ROWS = 2000
"""Rows are read in runs that end at either."""


class _Run(NamedTuple):
    """Rows one behind the other, by their first and last id."""

    first: int
    last: int
    counts: Counter[int]


class SqliteFile:
    """See `StoredFile`.

    The index of timestamps is not used, so that it may be damaged or missing: one pass over the
    table, which leaves the messages' data alone, notes the times of each run of rows.

    Raises:
        ValueError: it is no recording.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        path.open("rb").close()
        self._database = _connect(path, tell)
        self.blocks: list[Block] = []
        self._counts: Counter[int] = Counter()
        try:
            self.channels = _channels(self._database)
            self._list()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ValueError(f"{path} must be a recording of rosbag2: {error}") from error
        except BaseException:
            self._database.close()
            raise
        self.counts = dict(self._counts)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def load(self, block: Block, wanted: frozenset[int]) -> Iterable[Entry]:
        """Messages of the wanted channels; what is lost is told and left out."""
        run: _Run = block.place
        marks = ",".join("?" * len(wanted))

        def select(at: int) -> Iterator[Row]:
            return self._database.execute(
                "SELECT id, topic_id, timestamp, data FROM messages "
                f"WHERE id BETWEEN ? AND ? AND topic_id IN ({marks}) ORDER BY id",
                (at, run.last, *wanted),
            )

        entries, problem = [], ""
        for row in rows_around_damage(select, run.first, run.last):
            if isinstance(row, LostRows):
                problem = row.problem
            elif isinstance(row[3], bytes):
                entries.append(Entry(row[2], row[1], row[3], 0, len(row[3])))
        had = sum(run.counts[key] for key in wanted)
        if len(entries) < had:
            problem = f", {problem}" if problem else ""
            detail = f"{had - len(entries)} of {had} messages in rows {run.first} to {run.last}"
            self._tell(
                Gap(self._path, block.begin_ns, block.end_ns, f"{detail} are lost{problem}")
            )
        return entries

    def _list(self) -> None:
        run: list[Row] = []
        held, before_ns = 0, None
        lost: LostRows | None = None
        rows = rows_around_damage(self._select_heads, 1, _last_id(self._database))
        for row in in_rising_order(rows):
            if isinstance(row, LostRows):
                self._add(run)
                run, held, lost = [], 0, row
                continue
            key, channel, log_ns, kind, size = row
            if channel not in self.channels or kind != "blob" or not _is_time(log_ns):
                self._add(run)
                run, held, lost = [], 0, LostRows(key, key, "the row contradicts itself")
                continue
            if lost is not None:
                self._tell_of(lost, before_ns, log_ns)
                lost = None
            run.append(row)
            held, before_ns = held + size, log_ns
            if held >= RUN_BYTES or len(run) >= RUN_ROWS:
                self._add(run)
                run, held = [], 0
        self._add(run)
        if lost is not None:
            self._tell_of(lost, before_ns, None)

    def _select_heads(self, at: int) -> Iterator[Row]:
        return self._database.execute(
            "SELECT id, topic_id, timestamp, typeof(data), length(data) FROM messages "
            "WHERE id >= ? ORDER BY id",
            (at,),
        )

    def _add(self, run: list[Row]) -> None:
        if run:
            times = [row[2] for row in run]
            counts = Counter(row[1] for row in run)
            self._counts += counts
            place = _Run(run[0][0], run[-1][0], counts)
            self.blocks.append(Block(min(times), max(times), frozenset(counts), place))

    def _tell_of(self, lost: LostRows, begin_ns: int | None, end_ns: int | None) -> None:
        if lost.last is None:
            detail = "the last messages are lost"
        else:
            detail = f"{lost.last - lost.first + 1} messages are lost"
        self._tell(Gap(self._path, begin_ns, end_ns, f"{detail}, {lost.problem}"))


def _connect(path: Path, tell: Tell) -> sqlite3.Connection:
    """Open a database so that nothing is written, not even a lock."""
    log = path.with_name(f"{path.name}-wal")
    place = f"file:{quote(str(path))}"
    if log.exists() and log.stat().st_size:
        database = _prepared(f"{place}?mode=ro")
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return database
        except sqlite3.DatabaseError as error:
            database.close()
            detail = f"what is still in {log.name} is lost: {error}"
            tell(Gap(path, None, None, detail))
    return _prepared(f"{place}?immutable=1")


def _prepared(place: str) -> sqlite3.Connection:
    database = sqlite3.connect(place, uri=True, check_same_thread=False)
    # Nothing is written; without it SQLite refuses a file that was cut off as a whole.
    database.execute("PRAGMA writable_schema = ON")
    database.execute("PRAGMA cell_size_check = ON")
    return database


def _last_id(database: sqlite3.Connection) -> int | None:
    try:
        return database.execute("SELECT max(id) FROM messages").fetchone()[0]
    except sqlite3.DatabaseError:
        return None


def _is_time(log_ns: object) -> bool:
    return isinstance(log_ns, int) and log_ns >= 0


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info(topics)")}
    if not {"id", "name", "type"} <= columns:
        raise ValueError("it must be a recording of rosbag2, got a database without its tables")
    wanted = "id", "name", "type", "serialization_format", "offered_qos_profiles"
    chosen = [name if name in columns else "''" for name in (*wanted, "type_description_hash")]
    definitions = _definitions(database)
    channels = {}
    for row in database.execute(f"SELECT {', '.join(chosen)} FROM topics"):
        key, name, msgtype, encoding, qos, digest = row
        form, text = definitions.get(msgtype, ("", ""))
        if encoding in ("cdr", "") and isinstance(name, str) and isinstance(msgtype, str):
            channels[key] = Channel(name, msgtype, text, form if text else "", digest, "cdr", qos)
    return channels


def _definitions(database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Format and text by type; none before Iron, and none where they are damaged."""
    try:
        rows = database.execute(
            "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        ).fetchall()
    except sqlite3.DatabaseError:
        return {}
    return {name: (form, text) for name, form, text in rows}
