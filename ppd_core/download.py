"""Bringing published weight files to this machine, checked and whole."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppd_core.registry import (
    PublishedFile,
    WeightsError,
    by_hand,
    noted_sum,
    published,
    sha256_of,
    verify,
    weights_dir,
)

_log = logging.getLogger(__name__)


def fetch(name: str, directory: str | Path | None = None, *, force: bool = False) -> Path:
    """Get a published file from the hub, unless it is there already, and check it.

    The bytes collect in `FILENAME.<start of its sha256>.part`, which an interrupted call leaves
    behind and the next one goes on from. Only a file of the right size and SHA-256 gets the
    final name; one that is not right is deleted. The licence is logged as a warning, so that it
    shows by default. The hub client's own environment variables hold (HF_ENDPOINT,
    HF_HUB_OFFLINE, HF_HUB_DISABLE_PROGRESS_BARS, proxies); no access token is sent.

    Args:
        name: of the registry.
        directory: as in `weights_dir`; made if need be.
        force: fetch it anew and replace what is there.

    Raises:
        WeightsError: it could not be fetched or is not what was promised; the message says
            where to get the file and where to put it.
    """
    file = published(name)
    path = weights_dir(directory) / file.filename
    _log.warning("%s: licence %s (%s)", file.filename, file.licence_text, file.page_url)
    if path.exists() and not force:
        return _keep(path, directory)
    if file.hub_repo is None:
        raise WeightsError(
            f"{file.filename} is not on the hub, so it cannot be fetched: {by_hand(file, path)}"
        )
    url, sha256, size_bytes = _remote_facts(file, path)
    with _only_one(path):
        if path.exists() and not force:
            return _keep(path, directory)  # Another process was faster.
        part = path.with_name(f"{path.name}.{sha256[:12]}.part")
        for stale in path.parent.glob(f"{path.name}.*.part"):
            if stale != part:
                stale.unlink()
        _transfer(file, url, part, path, size_bytes)
        _check(file, part, sha256, size_bytes)
        os.replace(part, path)
        noted_sum(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
    return path


def _keep(path: Path, directory: str | Path | None) -> Path:
    status = verify(path, directory).status
    if status == "mismatch":
        raise WeightsError(
            f"{path} is there but is not the published file (its sha256 differs): "
            "move it away, or replace it with `--force`"
        )
    if status == "unknown":
        _log.warning("%s is kept unchecked: its sha256 is not known here", path)
    return path


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Make the folder, and let one process at a time fetch this file."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("waiting for another process that is fetching %s", path.name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise WeightsError(f"cannot write to folder {path.parent}: {error}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _remote_facts(file: PublishedFile, path: Path) -> tuple[str, str, int]:
    """Ask the hub: URL, SHA-256 and size in bytes of the file that it holds."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    assert file.hub_repo is not None and file.hub_filename is not None
    # The client reads HF_ENDPOINT when it is imported; this honours one that was set later too.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(file.hub_repo, file.hub_filename, endpoint=endpoint)
    try:
        metadata = get_hf_file_metadata(url, token=False)
    # The client has changed its HTTP library, and with it the family of exceptions, twice.
    except Exception as error:
        raise WeightsError(
            f"{file.filename} could not be fetched from {url} ({_reason(error)}): "
            f"{by_hand(file, path)}"
        ) from error
    # For a large file the hub's ETag is the SHA-256 of its content.
    sha256, size_bytes = metadata.etag or "", metadata.size
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not size_bytes:
        raise WeightsError(
            f"{url} gives no sha256 and size to check {file.filename} by: {by_hand(file, path)}"
        )
    if file.sha256 not in (None, sha256):
        raise WeightsError(
            f"{url} is not the {file.filename} that was published: "
            f"its sha256 must be {file.sha256}, got {sha256}"
        )
    return url, sha256, size_bytes


def _transfer(file: PublishedFile, url: str, part: Path, path: Path, size_bytes: int) -> None:
    """Bring `part` to its full size, going on from what it already has."""
    # `hf_hub_download` would do, but it deletes the partial file of an interrupted call, and it
    # does not compare the SHA-256.
    from huggingface_hub.file_download import http_get

    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if size_bytes - have > free:
        raise WeightsError(
            f"{file.filename} needs {size_bytes - have} more bytes in {part.parent}, "
            f"which has {free} free"
        )
    if have >= size_bytes:
        return
    try:
        with part.open("ab") as stream:
            http_get(url, stream, resume_size=have, displayed_filename=file.filename)
            stream.flush()
            os.fsync(stream.fileno())
    except Exception as error:  # As in `_remote_facts`; a full disk comes this way too.
        got = part.stat().st_size if part.exists() else 0
        if not got:
            part.unlink(missing_ok=True)
        raise WeightsError(
            f"{file.filename} stopped after {got} of {size_bytes} bytes ({_reason(error)}): "
            f"fetch it again to go on from there, or {by_hand(file, path)}"
        ) from error


def _check(file: PublishedFile, part: Path, sha256: str, size_bytes: int) -> None:
    """Delete what is not the promised file, and say so."""
    wanted = f"{size_bytes} bytes of sha256 {sha256}"
    got = f"{part.stat().st_size} bytes of sha256 {sha256_of(part)}"
    if got != wanted:
        part.unlink()
        raise WeightsError(
            f"{file.filename} arrived damaged and was deleted: wanted {wanted}, got {got}"
        )
