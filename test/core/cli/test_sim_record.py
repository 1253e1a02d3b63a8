from __future__ import annotations

import inspect
from pathlib import Path

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from ppd_core.cli import main, sim_record
from ppd_core.sim.recording import RecordingConfig
from ppd_core.sim.scenes import SCENE_KINDS

SMALL = ["--width", "64", "--height", "48", "--seconds", "0.2"]


def test_folder_is_a_bag_of_what_was_asked_for(tmp_path: Path, rendering: None, capsys):
    bag = tmp_path / "new" / "bag"
    assert main(["sim", "record", "-o", str(bag), *SMALL, "--raw", "--rate-hz", "20"]) == 0
    assert f"4 frames: {bag}" in capsys.readouterr().out
    with AnyReader([bag]) as reader:
        assert reader.topics["/camera/image"].msgcount == 4
        assert reader.duration == 150_000_001


def test_file_is_one_mcap_and_the_same_again(tmp_path: Path, rendering: None):
    files = [tmp_path / folder / "a.mcap" for folder in ("one", "two")]
    for file in files:
        assert main(["sim", "record", "-o", str(file), *SMALL, "--kind", "bin"]) == 0
        assert list(file.parent.iterdir()) == [file]
    assert files[0].read_bytes() == files[1].read_bytes()
    with files[0].open("rb") as stream:
        summary = make_reader(stream).get_summary()
    topics = {channel.topic for channel in summary.channels.values()}
    assert "/camera/image/compressed" in topics and "/tf" in topics


def test_what_is_there_is_not_replaced(tmp_path: Path, capsys):
    (tmp_path / "a.mcap").write_bytes(b"mine")
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "notes.txt").write_text("mine")
    for path in (tmp_path / "a.mcap", tmp_path / "bag"):
        assert main(["sim", "record", "-o", str(path), *SMALL]) == 2
        assert str(path) in capsys.readouterr().err
    assert (tmp_path / "a.mcap").read_bytes() == b"mine"


def test_value_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, capsys):
    assert main(["sim", "record", "-o", str(tmp_path / "a.mcap"), "--width", "3"]) == 2
    said = capsys.readouterr().err
    assert "width must be in [16, 4096], got 3" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_missing_library_is_named(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sim_record, "find_spec", lambda name: None)
    assert main(["sim", "record", "-o", str(tmp_path / "a.mcap")]) == 2
    assert "needs rosbags and mcap: pip install 'ppd_ros[bag]'" in capsys.readouterr().err


def test_defaults_are_those_of_the_config(monkeypatch, tmp_path: Path):
    written = []
    monkeypatch.setattr(sim_record, "_write", lambda folder, config: written.append(config))
    assert main(["sim", "record", "-o", str(tmp_path / "bag")]) == 0
    assert written == [RecordingConfig()]
    assert (*SCENE_KINDS, "any") == sim_record.KINDS
    assert inspect.signature(RecordingConfig).parameters["kind"].default == "table"
