"""The files of a recording, opened when they are needed and few of them at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ppd_core.bag.bag_files import DataFile
from ppd_core.bag.channels import StoredFile
from ppd_core.bag.mcap_file import McapFile
from ppd_core.bag.recording import Gap, Tell
from ppd_core.bag.ros1_file import Ros1File
from ppd_core.bag.sqlite_file import SqliteFile

OPEN_FILES = 64
_CLASSES: dict[str, Callable[[Path, Tell], StoredFile]] = {
    "mcap": McapFile,
    "sqlite3": SqliteFile,
    "ros1": Ros1File,
}


class OpenedFiles:
    """Opens files and keeps the last ones open; of those compressed as a whole, one.

    A compressed file is written out under the system's folder for temporary files (TMPDIR).
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._opened: OrderedDict[Path, StoredFile] = OrderedDict()
        self._folder: TemporaryDirectory[str] | None = None

    def open(self, file: DataFile) -> StoredFile:
        """The file, open.

        Raises:
            ValueError: it is no recording.
            OSError: it cannot be read.
        """
        if file.path in self._opened:
            self._opened.move_to_end(file.path)
            return self._opened[file.path]
        if file.is_packed or len(self._opened) >= OPEN_FILES:
            self.close()
        path = self._unpack(file.path) if file.is_packed else file.path

        def tell(gap: Gap) -> None:
            # What the user knows is the compressed file.
            self._tell(Gap(file.path, gap.begin_ns, gap.end_ns, gap.detail))

        stored = _CLASSES[file.storage](path, tell)
        self._opened[file.path] = stored
        return stored

    def close(self) -> None:
        """Close all files."""
        for stored in self._opened.values():
            stored.close()
        self._opened.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _unpack(self, path: Path) -> Path:
        import zstandard

        self._folder = TemporaryDirectory(prefix="ppd_bag_")
        plain = Path(self._folder.name, path.stem)
        try:
            with path.open("rb") as source, plain.open("wb") as target:
                zstandard.ZstdDecompressor().copy_stream(source, target)
        except zstandard.ZstdError as error:
            # What came before the damage is written, and read like a file that was cut off.
            self._tell(
                Gap(path, None, None, f"the file cannot be decompressed to its end: {error}")
            )
        return plain
