"""The command `ppd weights`, with a parser of its own and files made on the spot."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pytest
import torch

from ppd_core.cli import weights as command
from ppd_core.config import PRESETS, config_from_json
from ppd_core.registry import REGISTRY, PublishedFile
from ppd_core.weights import WeightsError, read_checkpoint, read_tensors

DA2_SHA256 = REGISTRY["depth-anything-v2-vitl"].sha256


@pytest.fixture
def ppd_weights(tmp_path, monkeypatch):
    """Runs `ppd weights ARGS` on an empty weights folder, and returns the exit status."""
    monkeypatch.setenv("PPD_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser("ppd")
    command.add_parser(parser.add_subparsers(dest="command"))
    return lambda *args: command.run(parser.parse_args(["weights", *map(str, args)]))


@pytest.fixture
def da2_files(tmp_path, ppd_weights) -> Path:
    """Small files with the keys of the published pair."""
    folder = tmp_path / "weights"
    torch.save({"dit.x.weight": torch.arange(4.0), "dit.n": torch.arange(2)}, folder / "ppd.pth")
    torch.save(
        {"pretrained.pos_embed": torch.ones(2, 3), "depth_head.out.weight": torch.ones(1)},
        folder / "depth_anything_v2_vitl.pth",
    )
    return folder


def error_line(capsys) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


# list


def test_list_shows_every_file_with_licence_use_and_presence(ppd_weights, tmp_path, capsys):
    (tmp_path / "weights" / "ppd.pth").write_bytes(bytes(20_000_000))
    assert ppd_weights("list") == 0
    heading, *rows, folder = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "FILE", "SIZE", "HERE", "LICENCE", "USE"]
    assert len(rows) == len(REGISTRY)
    for row, file in zip(rows, REGISTRY.values(), strict=True):
        assert row.startswith(f"{file.name} ")
        assert f" {file.filename} " in row
        assert f" {file.licence_text} " in row
        assert row.endswith(f" {file.use}")
        assert row.index(file.licence_text) == heading.index("LICENCE")
        assert (" present " in row) == (file.name == "ppd")
        assert (" missing " in row) == (file.name != "ppd")
    assert " 0.02 GB " in rows[0] and " 1.34 GB " in rows[1] and " unknown " in rows[2]
    assert "CC-BY-NC-4.0, non-commercial use only" in rows[1]
    assert folder == f"folder: {tmp_path / 'weights'}"


def test_list_of_another_folder(ppd_weights, tmp_path, capsys):
    assert ppd_weights("list", "--dir", tmp_path / "no") == 0
    assert f"folder: {tmp_path / 'no'}" in capsys.readouterr().out


# fetch


def test_fetch_of_a_preset_fetches_its_files(ppd_weights, tmp_path, capsys, monkeypatch):
    calls = []

    def fetch(name, directory, *, force):
        calls.append((name, directory, force))
        return Path("/w") / name

    monkeypatch.setattr(command, "fetch", fetch)
    assert ppd_weights("fetch", "ppd-da2", "--dir", tmp_path, "--force") == 0
    assert calls == [("ppd", tmp_path, True), ("depth-anything-v2-vitl", tmp_path, True)]
    assert capsys.readouterr().out == (
        "ppd: /w/ppd\ndepth-anything-v2-vitl: /w/depth-anything-v2-vitl\n"
    )


def test_fetch_goes_on_after_a_file_that_fails(ppd_weights, capsys, monkeypatch):
    def fetch(name, directory, *, force):
        if name == "ppd-moge":
            raise WeightsError("ppd_moge.pth is not on the hub")
        return Path("/w") / name

    monkeypatch.setattr(command, "fetch", fetch)
    assert ppd_weights("fetch", "ppd-moge2") == 1
    captured = capsys.readouterr()
    assert captured.err == "ppd weights: ppd_moge.pth is not on the hub\n"
    assert captured.out == "moge-2-vitl-normal: /w/moge-2-vitl-normal\n"


def test_fetch_says_where_the_file_on_google_drive_is(ppd_weights, tmp_path, capsys):
    assert ppd_weights("fetch", "ppd-moge") == 1
    line = error_line(capsys)
    assert line.startswith("ppd weights: ppd_moge.pth is not on the hub")
    assert "https://drive.google.com/file/d/1tabmcsbRVDKDfmO4KU1vOjurzN-wp0HV/view" in line
    assert str(tmp_path / "weights" / "ppd_moge.pth") in line


@pytest.mark.parametrize("name", ["pdp", "tiny"])
def test_fetch_refuses_what_is_not_published(ppd_weights, capsys, name):
    assert ppd_weights("fetch", name) == 1
    assert error_line(capsys) == (
        f"ppd weights: unknown weights '{name}'; known names: {', '.join(REGISTRY)}"
    )


# verify


def test_verify_prints_sum_size_and_status(ppd_weights, tmp_path, capsys, monkeypatch):
    content = b"published"
    sha256 = hashlib.sha256(content).hexdigest()
    file = PublishedFile("toy", "toy.pth", "https://x", "MIT", "tests", sha256=sha256)
    monkeypatch.setitem(REGISTRY, "toy", file)
    path = tmp_path / "weights" / "toy.pth"
    path.write_bytes(content)
    (tmp_path / "mine.pth").write_bytes(content)
    assert ppd_weights("verify", "toy", "mine.pth") == 0
    known, unknown = capsys.readouterr().out.splitlines()
    assert known.split() == ["ok", sha256, "9", "bytes", str(path)]
    assert unknown.split() == ["unknown", sha256, "9", "bytes", "mine.pth"]


def test_verify_fails_for_a_mismatch_and_still_checks_the_rest(ppd_weights, da2_files, capsys):
    assert ppd_weights("verify", "depth-anything-v2-vitl", "ppd") == 1
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == ["mismatch", "unknown"]
    path = da2_files / "depth_anything_v2_vitl.pth"
    assert captured.err == f"ppd weights: {path} is not the file that was published\n"


def test_verify_of_a_preset_reports_what_is_missing(ppd_weights, capsys):
    assert ppd_weights("verify", "ppd-da2") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("ppd weights: ppd.pth is missing: run `ppd weights fetch ppd`")
    assert lines[1].startswith("ppd weights: depth_anything_v2_vitl.pth is missing")


# convert


def test_convert_joins_a_presets_files_into_one_checkpoint(
    ppd_weights, da2_files, tmp_path, capsys
):
    assert ppd_weights("convert", "ppd-da2", "-o", tmp_path / "one.safetensors") == 0
    tensors, metadata = read_checkpoint(tmp_path / "one.safetensors")
    assert set(tensors) == {"dit.x.weight", "dit.n", "semantics.pretrained.pos_embed"}
    assert torch.equal(tensors["dit.x.weight"], torch.arange(4.0))
    assert config_from_json(metadata["ppd_config"]) == PRESETS["ppd-da2"]
    assert "depth-anything-v2-vitl: CC-BY-NC-4.0, non-commercial use only" in metadata["licences"]
    captured = capsys.readouterr()
    assert "non-commercial use only" in captured.err
    assert captured.out == f"3 tensors: {tmp_path / 'one.safetensors'}\n"


def test_convert_joins_the_moge2_pair(ppd_weights, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    torch.save({"dit.x": torch.ones(1)}, folder / "ppd_moge.pth")
    torch.save({"model_config": {}, "model": {"encoder.y": torch.ones(1)}}, folder / "moge2.pt")
    output = tmp_path / "one.safetensors"
    assert ppd_weights("convert", "ppd-moge2", "-o", output, "--dir", folder) == 0
    tensors, metadata = read_checkpoint(output)
    assert set(tensors) == {"dit.x", "semantics.encoder.y"}
    assert config_from_json(metadata["ppd_config"]).prompt.kind == "moge2"


def test_convert_keeps_integers_and_rounds_floats_as_asked(ppd_weights, da2_files, tmp_path):
    output = tmp_path / "one.safetensors"
    assert ppd_weights("convert", "ppd-da2", "-o", output, "--dtype", "bfloat16") == 0
    tensors, _ = read_checkpoint(output)
    assert tensors["dit.x.weight"].dtype == torch.bfloat16
    assert tensors["dit.n"].dtype == torch.int64


def test_convert_re_encodes_a_single_file(ppd_weights, da2_files, tmp_path):
    output = tmp_path / "ppd.safetensors"
    assert ppd_weights("convert", da2_files / "ppd.pth", "-o", output) == 0
    got, wanted = read_tensors(output), read_tensors(da2_files / "ppd.pth")
    assert set(got) == set(wanted)
    assert all(torch.equal(got[key], wanted[key]) for key in wanted)
    assert ppd_weights("convert", output, "-o", output, "--dtype", "float16") == 0
    assert read_tensors(output)["dit.x.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tiny", "preset tiny has no published weights"),
        ("pdp", "pdp is neither a file nor a preset; presets: ppd-da2, ppd-moge2, nano, tiny"),
        ("weights", "weights is a folder, not a weight file"),
        ("ppd-moge2", "ppd_moge.pth is missing: download ppd_moge.pth from https://drive"),
    ],
)
def test_convert_says_why_it_can_not(ppd_weights, tmp_path, capsys, source, message):
    assert ppd_weights("convert", source, "-o", tmp_path / "one.safetensors") == 1
    assert error_line(capsys).startswith(f"ppd weights: {message}")
    assert not (tmp_path / "one.safetensors").exists()


def test_convert_into_a_folder_that_cannot_be_made_says_so(ppd_weights, da2_files, capsys):
    (da2_files / "file").touch()
    output = da2_files / "file" / "one.safetensors"
    assert ppd_weights("convert", da2_files / "ppd.pth", "-o", output) == 1
    assert error_line(capsys).startswith(f"ppd weights: checkpoint {output} cannot be written: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["fetch"], "NAME"),
        (["convert", "ppd-da2"], "-o/--output"),
        (["convert", "ppd-da2", "-o", "one.pth"], "must end in .safetensors, got 'one.pth'"),
        (["convert", "ppd-da2", "-o", "a.safetensors", "--dtype", "int8"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_was_wanted(ppd_weights, capsys, args, message):
    with pytest.raises(SystemExit) as caught:
        ppd_weights(*args)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
