from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from ppd_core.evaluation.records import Key, Record, RecordFile, read_records

KEY = Key("nano", "sha256:1", "simulated held-out", "/data", "ppd", {"steps": "4"}, "1.0")


def write(output: Path, *records: Record, key: Key = KEY, rank: int = 0, world: int = 1) -> Path:
    with RecordFile(output, key, rank, world) as file:
        for record in records:
            file.append(record)
    return file.path


def test_a_record_comes_back_as_it_was():
    record = Record("a/b é", {"absrel": 0.125}, model_s=0.5, metrics_s=0.25)
    assert Record.from_line(record.to_line()) == record
    failed = Record("a", failure="unreadable", detail="cannot read a.png: truncated")
    back = Record.from_line(failed.to_line())
    assert (back.failure, back.detail, dict(back.figures)) == (failed.failure, failed.detail, {})


def test_what_cannot_be_measured_is_null_and_comes_back_as_nan():
    line = Record("a", {"edge_chamfer_m": math.nan, "rmse_m": math.inf}).to_line()
    assert '"edge_chamfer_m": null' in line and '"rmse_m": null' in line
    assert all(map(math.isnan, Record.from_line(line).figures.values()))


def test_what_a_killed_process_had_half_written_is_dropped(tmp_path: Path):
    path = write(tmp_path, Record("a", {"absrel": 1.0}), Record("b", {"absrel": 2.0}))
    whole = path.read_bytes()
    for cut in (1, 5, 30):
        path.write_bytes(whole[:-cut])
        assert set(read_records(tmp_path, KEY)) == {"a"}
    write(tmp_path, Record("c", {"absrel": 3.0}))
    records = read_records(tmp_path, KEY)
    assert {name: record.figures["absrel"] for name, record in records.items()} == {
        "a": 1.0,
        "c": 3.0,
    }


def test_a_header_that_was_cut_off_is_written_anew(tmp_path: Path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert read_records(tmp_path, KEY) == {}
    write(tmp_path, Record("a"))
    assert set(read_records(tmp_path, KEY)) == {"a"}


@pytest.mark.parametrize(
    "other",
    [
        {"model": "twin"},
        {"weights": "sha256:2"},
        {"data": "simulated"},
        {"root": "/other"},
        {"protocol": "marigold"},
        {"settings": {"steps": "1"}},
        {"version": "1.1"},
    ],
)
def test_another_key_has_other_records(tmp_path: Path, other: dict):
    write(tmp_path, Record("a"))
    assert read_records(tmp_path, replace(KEY, **other)) == {}


def test_a_file_with_another_key_than_its_name_says_is_refused(tmp_path: Path):
    path = write(tmp_path, Record("a"))
    path.write_text(path.read_text().replace("sha256:1", "sha256:2"))
    with pytest.raises(ValueError, match="take another folder"):
        read_records(tmp_path, KEY)
    with pytest.raises(ValueError, match="take another folder"):
        write(tmp_path, Record("b"))


def test_a_damaged_line_is_named(tmp_path: Path):
    path = write(tmp_path, Record("a"))
    with path.open("a") as stream:
        stream.write("nonsense\n")
    with pytest.raises(ValueError, match=r"jsonl, line 3: "):
        read_records(tmp_path, KEY)


def test_the_records_of_all_processes_are_read(tmp_path: Path):
    write(tmp_path, Record("a"), rank=0, world=2)
    write(tmp_path, Record("b"), rank=1, world=2)
    write(tmp_path, Record("c"))
    assert set(read_records(tmp_path, KEY)) == {"a", "b", "c"}


def test_an_image_that_failed_once_and_was_measured_later_is_measured(tmp_path: Path):
    write(tmp_path, Record("a", failure="unreadable"), Record("a", {"absrel": 1.0}))
    assert read_records(tmp_path, KEY)["a"].failure is None
    write(tmp_path, Record("a", failure="unreadable"), rank=1, world=2)
    assert read_records(tmp_path, KEY)["a"].failure is None


def test_failures_are_dropped_when_a_run_goes_on(tmp_path: Path):
    write(tmp_path, Record("a", failure="unreadable"), Record("b", {"absrel": 1.0}))
    assert set(read_records(tmp_path, KEY)) == {"a", "b"}
    write(tmp_path)
    assert set(read_records(tmp_path, KEY)) == {"b"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "records").write_text("a file")
    with pytest.raises(ValueError, match="cannot write"):
        write(tmp_path)
