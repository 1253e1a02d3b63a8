from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppd_core.atomic_file import atomic_write


def test_atomic_write_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fileé.bin"
    with atomic_write(path) as stream:
        stream.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_write_leaves_the_old_file_after_an_error(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as stream:
        stream.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_gives_the_file_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "file.bin"):
        pass
    usual, atomic = ((tmp_path / name).stat().st_mode for name in ("usual", "file.bin"))
    assert atomic == usual


def test_atomic_write_takes_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    with atomic_write(path) as stream:
        stream.write(b"abc")
    assert path.read_bytes() == b"abc"


def test_atomic_write_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"cannot write .*none/file.bin: No such file or dir"),
        atomic_write(tmp_path / "none" / "file.bin"),
    ):
        pytest.fail("the block must not run")


def test_atomic_write_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match=r"cannot write .*: Not a directory"),
        atomic_write(tmp_path / "file" / "below"),
    ):
        pytest.fail("the block must not run")


def test_atomic_write_over_a_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"cannot write .*: a folder of that name exists"),
        atomic_write(tmp_path),
    ):
        pytest.fail("the block must not run")
