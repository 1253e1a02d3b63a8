"""Fetching published files from a hub that is played by a local server."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ppd_core import download
from ppd_core.download import fetch
from ppd_core.registry import WeightsError, verify

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEADLINE_S = 20


class FakeHub(ThreadingHTTPServer):
    """Serves one file as the hub does: facts in the headers of a redirect, bytes elsewhere.

    Attributes:
        content: the bytes that GET gives.
        facts: headers of the answer to HEAD.
        cuts: for each GET to come, after how many bytes the connection breaks; then none does.
        statuses: for each GET to come, an HTTP status instead of the bytes; 0 for the bytes.
        head_status: of the answer to HEAD.
        knows_ranges: whether GET heeds a Range.
        requests: what was asked for: ("HEAD", "") or ("GET", its Range).
        started, may_go_on: a GET sets the one and waits for the other.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.content = CONTENT
        self.facts = {
            "ETag": '"not-the-sha256"',
            "X-Linked-Etag": f'"{SHA256}"',
            "X-Linked-Size": str(len(CONTENT)),
            "X-Repo-Commit": "0" * 40,
        }
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.head_status = 302
        self.knows_ranges = True
        self.requests: list[tuple[str, str]] = []
        self.started, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    @property
    def gets(self) -> list[str]:
        """The Range of every GET for the bytes."""
        return [range_ for method, range_ in self.requests if method == "GET"]


class Answers(BaseHTTPRequestHandler):
    server: FakeHub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.server.requests.append(("HEAD", ""))
        self.send_response(self.server.head_status)
        self.send_facts()

    def do_GET(self) -> None:
        if self.path.startswith("/someone/toy/"):
            self.send_response(302)
            return self.send_facts()
        if self.path != "/bytes":  # The client may ask the hub for other things by itself.
            return self.send_error(404)
        asked = self.headers.get("Range", "")
        self.server.requests.append(("GET", asked))
        self.server.started.set()
        assert self.server.may_go_on.wait(DEADLINE_S)
        status = self.server.statuses.pop(0) if self.server.statuses else 0
        if status:
            return self.send_error(status)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        start = start if self.server.knows_ranges else 0
        body, total = self.server.content[start:], len(self.server.content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)
        self.close_connection = True

    def send_facts(self) -> None:
        for name, value in self.server.facts.items():
            self.send_header(name, value)
        if 300 <= self.server.head_status < 400:
            # Another host, so that the client reads the facts of the redirect itself.
            self.send_header("Location", f"http://localhost:{self.server.server_port}/bytes")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def hub(monkeypatch):
    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    # The client writes 10 MB at a time, and waits a second before each of its own retries.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    yield server
    server.shutdown()
    server.server_close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def visible_files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def failure(folder: Path, **options) -> str:
    """The one line that fetching the toy fails with."""
    with pytest.raises(WeightsError) as caught:
        fetch("toy", folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fetch_brings_the_file_its_sum_and_nothing_else(tmp_path, hub, toy):
    folder = tmp_path / "new" / "folder"
    path = fetch("toy", folder)
    assert path == folder / "toy.pth"
    assert path.read_bytes() == CONTENT
    assert visible_files(folder) == ["toy.pth", "toy.pth.sha256"]
    assert (folder / "toy.pth.sha256").read_text() == f"{SHA256}  toy.pth\n"
    assert hub.requests == [("HEAD", ""), ("GET", "")]


def test_fetch_shows_a_progress_bar(tmp_path, hub, toy, monkeypatch, capfd):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # Makes the client draw it without a terminal.
    fetch("toy", tmp_path)
    assert re.search(r"toy\.pth: +100%.* 102k/102k", capfd.readouterr().err)


def test_fetch_tells_the_licence(tmp_path, hub, toy, caplog):
    fetch("toy", tmp_path)
    assert caplog.record_tuples[0][1:] == (
        logging.WARNING,
        "toy.pth: licence CC-BY-NC-4.0, non-commercial use only (https://example.org/toy)",
    )


def test_fetched_file_is_verified_and_not_fetched_again(tmp_path, hub, toy):
    fetch("toy", tmp_path)
    assert verify("toy", tmp_path).status == "ok"
    assert fetch("toy", tmp_path) == tmp_path / "toy.pth"
    assert len(hub.requests) == 2


def test_fetch_keeps_a_file_that_was_put_there_by_hand(tmp_path, hub, register_toy):
    register_toy(sha256=SHA256)
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    fetch("toy", tmp_path)
    assert hub.requests == []


def test_fetch_keeps_a_file_that_it_cannot_check_and_says_so(tmp_path, hub, toy, caplog):
    (tmp_path / "toy.pth").write_bytes(b"mine")
    fetch("toy", tmp_path)
    assert f"{tmp_path / 'toy.pth'} is kept unchecked" in caplog.text
    assert (tmp_path / "toy.pth").read_bytes() == b"mine"


def test_fetch_replaces_another_file_only_by_force(tmp_path, hub, register_toy):
    register_toy(sha256=SHA256)
    (tmp_path / "toy.pth").write_bytes(b"mine")
    message = failure(tmp_path)
    assert message.startswith(f"{tmp_path / 'toy.pth'} is there but is not the published file")
    assert "replace it with `--force`" in message
    assert (tmp_path / "toy.pth").read_bytes() == b"mine"
    fetch("toy", tmp_path, force=True)
    assert (tmp_path / "toy.pth").read_bytes() == CONTENT


def test_forced_fetch_that_fails_leaves_the_old_file(tmp_path, hub, toy):
    (tmp_path / "toy.pth").write_bytes(b"mine")
    hub.content = CONTENT[:-1] + b"x"
    assert "arrived damaged" in failure(tmp_path, force=True)
    assert (tmp_path / "toy.pth").read_bytes() == b"mine"


def test_interrupted_fetch_goes_on_where_it_stopped(tmp_path, hub, toy):
    hub.cuts, hub.statuses = [30_000], [0, 503]
    message = failure(tmp_path)
    assert "toy.pth stopped after 30000 of 102400 bytes" in message
    assert "fetch it again to go on from there" in message
    assert visible_files(tmp_path) == [f"toy.pth.{SHA256[:12]}.part"]
    hub.requests.clear()
    fetch("toy", tmp_path)
    assert hub.requests == [("HEAD", ""), ("GET", "bytes=30000-")]
    assert (tmp_path / "toy.pth").read_bytes() == CONTENT
    assert visible_files(tmp_path) == ["toy.pth", "toy.pth.sha256"]


def test_fetch_mends_a_connection_that_breaks_once(tmp_path, hub, toy):
    hub.cuts = [30_000]
    assert fetch("toy", tmp_path).read_bytes() == CONTENT
    assert hub.gets == ["", "bytes=30000-"]


def test_resumed_fetch_starts_over_with_a_server_that_knows_no_ranges(tmp_path, hub, toy):
    (tmp_path / f"toy.pth.{SHA256[:12]}.part").write_bytes(b"?" * 500)
    hub.knows_ranges = False
    assert fetch("toy", tmp_path).read_bytes() == CONTENT
    assert hub.gets == ["bytes=500-"]


def test_complete_partial_file_is_checked_and_not_asked_for(tmp_path, hub, toy):
    (tmp_path / f"toy.pth.{SHA256[:12]}.part").write_bytes(CONTENT)
    assert fetch("toy", tmp_path).read_bytes() == CONTENT
    assert hub.gets == []


def test_partial_file_of_another_version_is_dropped(tmp_path, hub, toy):
    (tmp_path / "toy.pth.0123456789ab.part").write_bytes(b"old")
    fetch("toy", tmp_path)
    assert hub.gets == [""]
    assert visible_files(tmp_path) == ["toy.pth", "toy.pth.sha256"]


def test_spoilt_partial_file_is_found_out_and_deleted(tmp_path, hub, toy):
    (tmp_path / f"toy.pth.{SHA256[:12]}.part").write_bytes(b"?" * 500)
    assert "arrived damaged and was deleted" in failure(tmp_path)
    assert visible_files(tmp_path) == []
    assert fetch("toy", tmp_path).read_bytes() == CONTENT


def test_file_of_the_wrong_sha256_is_deleted(tmp_path, hub, toy):
    hub.content = CONTENT[:-1] + b"x"
    got = hashlib.sha256(hub.content).hexdigest()
    assert failure(tmp_path) == (
        f"toy.pth arrived damaged and was deleted: wanted 102400 bytes of sha256 {SHA256}, "
        f"got 102400 bytes of sha256 {got}"
    )
    assert visible_files(tmp_path) == []


@pytest.mark.parametrize("content", [CONTENT[:700], CONTENT + b"more"])
def test_file_of_the_wrong_size_is_deleted(tmp_path, hub, toy, content):
    hub.content = content
    message = failure(tmp_path)
    assert "wanted 102400 bytes" in message and f"got {len(content)} bytes" in message
    assert visible_files(tmp_path) == []


def test_transfer_that_ends_before_its_first_byte_leaves_nothing(tmp_path, hub, toy):
    hub.cuts = [0] * 6
    assert failure(tmp_path).startswith("toy.pth stopped after 0 of 102400 bytes (")
    assert hub.gets
    assert visible_files(tmp_path) == []


def test_fetch_reports_a_file_that_the_hub_does_not_have(tmp_path, hub, toy):
    hub.head_status, hub.facts = 404, {"X-Error-Code": "EntryNotFound"}
    message = failure(tmp_path)
    assert message.startswith("toy.pth could not be fetched from http://127.0.0.1")
    assert "404" in message and "Entry Not Found" in message
    assert message.endswith(
        f"download model.pt from https://example.org/toy and put it at {tmp_path / 'toy.pth'}"
    )
    assert visible_files(tmp_path) == []


def test_fetch_without_a_network_says_where_to_get_the_file_and_where_to_put_it(
    tmp_path, toy, monkeypatch
):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as closed:
        port = closed.server_port
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    message = failure(tmp_path / "new")
    assert message.startswith(
        "toy.pth could not be fetched from "
        f"http://127.0.0.1:{port}/someone/toy/resolve/main/model.pt (Connect"
    )
    assert message.endswith(
        "download model.pt from https://example.org/toy and put it at "
        f"{tmp_path / 'new' / 'toy.pth'}"
    )
    assert not (tmp_path / "new").exists()


def test_fetch_heeds_the_hubs_offline_mode(tmp_path, hub, toy, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in failure(tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize(
    "facts",
    [
        {"X-Linked-Etag": f'"{SHA256}"'},
        {"X-Linked-Size": "102400", "ETag": '"a-git-sha1"'},
    ],
)
def test_fetch_refuses_what_it_could_not_check(tmp_path, hub, toy, facts):
    hub.facts = facts
    assert "gives no sha256 and size to check toy.pth by: download" in failure(tmp_path)
    assert hub.gets == []


def test_fetch_refuses_another_file_than_the_registrys(tmp_path, hub, register_toy):
    register_toy(sha256="0" * 64)
    message = failure(tmp_path)
    assert "is not the toy.pth that was published" in message
    assert f"its sha256 must be {'0' * 64}, got {SHA256}" in message
    assert hub.gets == []


def test_fetch_by_hand_says_where_to_get_the_file_and_where_to_put_it(tmp_path, register_toy):
    register_toy(hub_repo=None, hub_filename=None)
    assert failure(tmp_path) == (
        "toy.pth is not on the hub, so it cannot be fetched: download toy.pth from "
        f"https://example.org/toy and put it at {tmp_path / 'toy.pth'}"
    )


def test_fetch_refuses_an_unknown_name(tmp_path):
    with pytest.raises(WeightsError, match="unknown weights 'pdp'"):
        fetch("pdp", tmp_path)


def test_fetch_into_a_folder_that_cannot_be_made_names_it(tmp_path, hub, toy):
    (tmp_path / "file").touch()
    message = failure(tmp_path / "file" / "weights")
    assert message.startswith(f"cannot write to folder {tmp_path / 'file' / 'weights'}: ")
    assert hub.gets == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_fetch_into_a_read_only_folder_names_it(tmp_path, hub, toy):
    tmp_path.chmod(0o500)
    assert f"cannot write to folder {tmp_path}: " in failure(tmp_path)


def test_fetch_asks_for_room_before_it_starts(tmp_path, hub, toy, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    message = f"toy.pth needs 102400 more bytes in {tmp_path}, which has 1000 free"
    assert failure(tmp_path) == message
    assert hub.gets == []


def test_two_who_fetch_at_once_share_one_transfer(tmp_path, hub, toy):
    class GoOn(logging.Handler):
        """Lets the server answer once the second one waits for the first."""

        def emit(self, record: logging.LogRecord) -> None:
            if "waiting for another process" in record.getMessage():
                hub.may_go_on.set()

    handler = GoOn()
    logging.getLogger("ppd_core.download").addHandler(handler)
    hub.may_go_on.clear()
    first = threading.Thread(target=fetch, args=("toy", tmp_path))
    try:
        first.start()
        assert hub.started.wait(DEADLINE_S)
        assert fetch("toy", tmp_path).read_bytes() == CONTENT
    finally:
        hub.may_go_on.set()
        first.join(DEADLINE_S)
        logging.getLogger("ppd_core.download").removeHandler(handler)
    assert len(hub.gets) == 1
