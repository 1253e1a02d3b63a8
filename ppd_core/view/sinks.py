"""Where frames are shown: a window, a browser, a file."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import rerun as rr

APPLICATION = "ppd_view"
LOCALHOST = "127.0.0.1"
EVERYBODY = "0.0.0.0"
START_S = 20.0
"""A viewer that does not listen by then will not."""
FLUSH_S = 30.0
INTERRUPTED_FLUSH_S = 3.0
_END_S = 5.0
_LOOK_S = 0.05
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class ViewerMissingError(ImportError):
    """Rerun is not installed, or not for this machine."""

    def __init__(self) -> None:
        super().__init__("the viewer is not installed: pip install 'ppd_ros[view]'")


@dataclass(frozen=True)
class SinkSettings:
    """Where frames go.

    Args:
        is_web: serve a page for the browser, and open no window.
        has_viewer: False: to `save` alone.
        save: a file of Rerun's, or None.
        host: the address that is listened on.
        port: of the page; the frames come over the next one.
        memory: how much of what was shown is kept at most, as "1GiB" or "25%"; the oldest goes.

    Raises:
        ValueError: nothing is asked for, or a value is none.
    """

    is_web: bool = False
    has_viewer: bool = True
    save: Path | None = None
    host: str = LOCALHOST
    port: int = 9090
    memory: str = "1GiB"

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65534:
            raise ValueError(f"port must be in 1 .. 65534, got {self.port}")
        if not re.fullmatch(r"\d+(\.\d+)?\s*(%|[kMGT]i?B)", self.memory):
            raise ValueError(f"memory must be like 1GiB, 500MB or 25%, got {self.memory!r}")
        if not self.has_viewer and self.save is None:
            raise ValueError("without a viewer there must be a file to save to, got none")
        if self.has_viewer and not (self.is_web or has_display()):
            raise ValueError("a window needs a display, got none; a page for the browser does not")

    @property
    def memory_bytes(self) -> int | None:
        """What `memory` means; None for a share of the machine's."""
        unit = self.memory.lstrip("0123456789. ")
        number = self.memory.removesuffix(unit)
        if unit == "%":
            return None
        power = "kMGT".index(unit[0]) + 1
        return int(float(number) * (1024 if "i" in unit else 1000) ** power)


def require_viewer() -> None:
    """Check that Rerun is installed, before anything slow begins.

    Raises:
        ViewerMissingError: it is not.
    """
    if find_spec("rerun") is None:
        raise ViewerMissingError


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


class Sinks:
    """A recording and where it goes; a context manager that sends all of it before it closes.

    Args:
        settings: where.

    Attributes:
        recording: what is logged to it is shown.
        url: of the page in the browser, or None.
        viewer_pid: of the viewer's process, or None.

    Raises:
        ViewerMissingError: Rerun is not installed.
        ValueError: a port is taken, or the viewer does not start; the message says why.
        OSError: the file cannot be written.
    """

    def __init__(self, settings: SinkSettings) -> None:
        # That a viewer is gone is told by us, in a sentence.
        os.environ.setdefault("RUST_LOG", "warn,re_grpc_client=off,re_sdk=off")
        try:
            import rerun as rr
        except ImportError as error:
            raise ViewerMissingError from error
        self._settings = settings
        self._viewer: _Viewer | None = None
        self.url: str | None = None
        self.viewer_pid: int | None = None
        sinks: list[rr.GrpcSink | rr.FileSink] = []
        if settings.save is not None:
            sinks.append(_file_sink(settings.save))
        if settings.has_viewer:
            host = _own(settings.host)
            ports = (settings.port, settings.port + 1) if settings.is_web else (0, _free_port())
            self._viewer = _Viewer(_words(settings, *ports), is_window=not settings.is_web)
            self.viewer_pid = self._viewer.pid
            try:
                self._viewer.wait_listening(host, ports[1])
            except BaseException:  # Ctrl-C, too: it would be served by nobody's command.
                self._viewer.close()
                raise
            sinks.append(rr.GrpcSink(f"rerun+http://{host}:{ports[1]}/proxy"))
            self.url = _url(settings) if settings.is_web else None
        self.recording = rr.RecordingStream(APPLICATION)
        self.recording.set_sinks(*sinks)

    @property
    def is_left(self) -> bool:
        """Whether the viewer has ended, so that nobody looks any more."""
        return self._viewer is not None and self._viewer.has_ended

    def why_left(self) -> str | None:
        """What the viewer said last if it ended by an error; None if somebody closed it."""
        assert self._viewer is not None
        return self._viewer.failure()

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Wait until all was sent and written, but not for ever."""
        # Rerun raises for a viewer that is gone or slow, and has said so by itself.
        with contextlib.suppress(RuntimeError, ValueError):
            self.recording.flush(timeout_sec=timeout_s)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Send what is left and end; a window stays, a page does not."""
        if not self.is_left:
            self.flush(timeout_s)
        self.recording.disconnect()
        if self._viewer is not None:
            self._viewer.close()

    def __enter__(self) -> Sinks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(FLUSH_S if kind is None else INTERRUPTED_FLUSH_S)


class _Viewer:
    """The program of Rerun's wheel: it keeps what it is sent, and draws it or serves the page.

    A process of its own. What it cannot keep up with waits in memory of a fixed size, then
    logging waits, too; and `rr.spawn` and `rr.serve_web_viewer` listen to the whole network.
    """

    def __init__(self, words: Sequence[str], *, is_window: bool) -> None:
        self._is_window = is_window
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [_program(), *words],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env={**os.environ, "RERUN_APP_ONLY": "true"},
            # Ctrl-C is for us: the window stays, and the page goes when the last frame is there.
            start_new_session=True,
        )
        self.pid = self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait_listening(self, host: str, port: int) -> None:
        """Wait until frames can be sent.

        Raises:
            ValueError: it ended or takes too long.
        """
        deadline_s = time.monotonic() + START_S
        while not _is_listening(host, port):
            if self.has_ended:
                raise ValueError(f"the viewer did not start: {self._last_words()}")
            if time.monotonic() > deadline_s:
                self._process.kill()
                raise ValueError(f"the viewer did not start within {START_S:g} s")
            time.sleep(_LOOK_S)

    def failure(self) -> str | None:
        """The last error of a viewer that ended by itself."""
        return f"the viewer ended: {self._last_words()}" if self._process.returncode else None

    def close(self) -> None:
        """End what only serves; leave a window to its user."""
        if not self._is_window and not self.has_ended:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._said.close()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = _COLORS.sub("", self._said.read().decode(errors="replace")).splitlines()
        for sign in ("panicked at", "error"):
            if errors := [line for line in lines if sign in line.lower()]:
                return errors[-1].strip()
        return lines[-1].strip() if lines else f"exit status {self._process.returncode}"


def _program() -> str:
    """Rerun's own program, in its wheel: a `rerun` on PATH may be of another version."""
    spec = find_spec("rerun_cli")
    if spec is None or spec.origin is None:
        raise ViewerMissingError
    folder = Path(spec.origin).parent
    names = ("rerun", "rerun.exe", "Rerun.app/Contents/MacOS/Rerun")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise ViewerMissingError
    return str(found[-1])


def _words(settings: SinkSettings, page_port: int, data_port: int) -> list[str]:
    """What the program is started with."""
    words = ["--bind", settings.host, "--port", str(data_port)]
    words += ["--server-memory-limit", settings.memory]
    if not settings.is_web:
        return [*words, "--memory-limit", settings.memory, "--expect-data-soon"]
    for port in (page_port, data_port):
        if _is_listening(_own(settings.host), port):
            raise ValueError(f"port {port} is taken: give another with --port")
    words += ["--serve-web", "--web-viewer-port", str(page_port)]
    # A browser elsewhere loads the page by a name of this machine that only it knows.
    return words if settings.host == LOCALHOST else [*words, "--cors-allow-origin", "*"]


def _url(settings: SinkSettings) -> str:
    host = settings.host if settings.host != EVERYBODY else socket.gethostname()
    data = f"rerun+http://{host}:{settings.port + 1}/proxy"
    return f"http://{host}:{settings.port}/?url={quote(data, safe='')}"


def _file_sink(path: Path) -> rr.FileSink:
    import rerun as rr

    if path.suffix != ".rrd":
        raise ValueError(f"a file to save to must end in .rrd, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):  # Rerun would only log that it cannot be written.
        pass
    return rr.FileSink(str(path))


def _own(host: str) -> str:
    """By what name this machine reaches itself."""
    return LOCALHOST if host == EVERYBODY else host


def _is_listening(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])
