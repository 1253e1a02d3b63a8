"""What is known of each image, kept line by line so that a killed run goes on where it was.

A file holds the records of one process and of one `Key`: its first line is the key, the others
are images. Its name has the key's digest, so that what was measured with other weights, settings
or versions lies in another file and is never mixed in.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ppd_core.atomic_file import atomic_write

RECORDS_FOLDER = "records"
_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Key:
    """All that a figure depends on, beside the image.

    Args:
        model: as the table names it.
        weights: digest of its weights, or what else tells them from others.
        data: name and split of the data set.
        root: where it lies.
        protocol: how depth was aligned to the truth.
        settings: steps, dtype, ...: what the model was told.
        version: of this package.
    """

    model: str
    weights: str
    data: str
    root: str
    protocol: str
    settings: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def digest(self) -> str:
        """The same for equal keys, another for others; 12 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]

    @property
    def stem(self) -> str:
        """What its files' names begin with: for people, then the digest."""
        words = "-".join([self.model, self.data, self.protocol])
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', words)[:80]}-{self.digest}"


@dataclass(frozen=True)
class Record:
    """One image: its figures, or why there are none.

    Args:
        name: of the image, unique in its data set.
        figures: metric -> value; NaN where the image has nothing to measure it at.
        failure: a key of `failures.FAILURES`, or None.
        detail: of the failure, one sentence.
        model_s, metrics_s: seconds that the model, and that aligning and measuring took.
    """

    name: str
    figures: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    detail: str = ""
    model_s: float = math.nan
    metrics_s: float = math.nan

    def to_line(self) -> str:
        """One line of JSON, its end included; NaN and infinities are null."""
        values = asdict(self)
        values["figures"] = {name: _finite(value) for name, value in self.figures.items()}
        values |= {name: _finite(values[name]) for name in ("model_s", "metrics_s")}
        return json.dumps(values, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Record:
        """The inverse; null is NaN.

        Raises:
            ValueError: not such a line.
        """
        try:
            values = dict(json.loads(line))
            figures = {name: _number(value) for name, value in values["figures"].items()}
            values |= {name: _number(values[name]) for name in ("model_s", "metrics_s")}
            return cls(**{**values, "figures": figures})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a record: {line[:80]!r}") from error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


class RecordFile:
    """The file that one process appends to; use it as a context.

    What failed in an earlier run is dropped, to be tried again.

    Args:
        output: the folder of the evaluation.
        key: of all records in the file.
        rank, world: which of how many processes this is.

    Raises:
        ValueError: the file has another key, or cannot be written.
    """

    def __init__(self, output: Path, key: Key, rank: int = 0, world: int = 1) -> None:
        self.path = output / RECORDS_FOLDER / f"{key.stem}.{rank}-of-{world}.jsonl"
        self._key = key
        self._stream: IO[str] | None = None

    def __enter__(self) -> RecordFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _keep_measured(self.path)
            is_new = not self.path.exists() or self.path.stat().st_size == 0
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"cannot write {self.path}: {error.strerror}") from error
        if is_new:
            self._write(_header(self._key))
        else:
            _check_header(self.path, self._key)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def append(self, record: Record) -> None:
        """Write a record so that it outlives this process.

        Raises:
            OSError: the disk failed.
        """
        self._write(record.to_line())

    def _write(self, line: str) -> None:
        assert self._stream is not None
        self._stream.write(line)
        self._stream.flush()


def read_records(output: Path, key: Key) -> dict[str, Record]:
    """All records of a key, of whatever processes, by image; a line that was cut off is none.

    An image that failed once and was measured later is measured.

    Raises:
        ValueError: a file is not what it should be; the message names it.
    """
    records: dict[str, Record] = {}
    for path in sorted((output / RECORDS_FOLDER).glob(f"{key.stem}.*.jsonl")):
        lines = _whole_lines(path)
        if not lines:
            continue
        _check_header(path, key)
        for number, line in enumerate(lines[1:], start=2):
            try:
                record = Record.from_line(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if record.name not in records or records[record.name].failure is not None:
                records[record.name] = record
    return records


def _header(key: Key) -> str:
    return json.dumps({"key": asdict(key)}, sort_keys=True) + "\n"


def _check_header(path: Path, key: Key) -> None:
    if (_whole_lines(path) or [""])[0] + "\n" != _header(key):
        raise ValueError(f"{path} holds other records than its name says: take another folder")


def _whole_lines(path: Path) -> list[str]:
    """Without what stands after the last line's end: another process may be writing it."""
    text: Any = path.read_bytes()
    return text[: text.rfind(b"\n") + 1].decode(errors="replace").splitlines()


def _keep_measured(path: Path) -> None:
    """Drop a line that was cut off, and failures: what could not be read may be there now."""
    if not path.exists():
        return
    kept = [line for line in _whole_lines(path) if not _is_failure(line)]
    with atomic_write(path) as stream:
        stream.write("".join(line + "\n" for line in kept).encode())


def _is_failure(line: str) -> bool:
    try:
        return Record.from_line(line).failure is not None
    except ValueError:
        return False  # the head, or what `read_records` will complain of
