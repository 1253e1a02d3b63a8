"""What is published, where it lies, and whether it is what it should be."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from ppd_core import registry
from ppd_core.registry import REGISTRY, Verification, WeightsError, find, verify

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_registry_names_hub_repository_licence_and_use_of_every_file():
    published = {"ppd", "depth-anything-v2-vitl", "ppd-moge", "moge-2-vitl-normal"}
    assert set(REGISTRY) == published | {"mae-vitl", "vggt-1b"}
    for name, file in REGISTRY.items():
        assert file.name == name
        assert file.page_url.startswith("https://")
        assert file.use and file.licence
        assert (file.hub_repo is None) == (file.hub_filename is None)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    filenames = [file.filename for file in REGISTRY.values()]
    assert len(set(filenames)) == len(filenames)


def test_registry_warns_of_the_licences_that_forbid_commercial_use():
    texts = {name: file.licence_text for name, file in REGISTRY.items()}
    assert texts == {
        "ppd": "Apache-2.0",
        "depth-anything-v2-vitl": "CC-BY-NC-4.0, non-commercial use only",
        "ppd-moge": "Apache-2.0",
        "moge-2-vitl-normal": "MIT",
        "mae-vitl": "CC-BY-NC-4.0, non-commercial use only",
        "vggt-1b": "CC-BY-NC-4.0, non-commercial use only",
    }


def test_presets_name_files_of_the_registry():
    from ppd_core.config import PRESETS

    for config in PRESETS.values():
        assert set(config.weights) <= set(REGISTRY)


def test_weights_dir_is_argument_then_variable_then_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PPD_WEIGHTS_DIR", "~/models")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert registry.weights_dir("/data") == Path("/data")
    assert registry.weights_dir() == Path("/home/me/models")
    monkeypatch.delenv("PPD_WEIGHTS_DIR")
    assert registry.weights_dir() == tmp_path / "ppd_ros" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert registry.weights_dir() == Path("/home/me/.cache/ppd_ros/weights")


def test_find_returns_the_file_of_a_name_and_a_path_as_it_is(tmp_path):
    (tmp_path / "ppd.pth").touch()
    assert find("ppd", tmp_path) == tmp_path / "ppd.pth"
    assert find(str(tmp_path / "ppd.pth")) == tmp_path / "ppd.pth"


def test_find_says_what_is_missing_and_how_and_where_to_get_it(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find("moge-2-vitl-normal", tmp_path)
    assert str(caught.value) == (
        "moge2.pt is missing: run `ppd weights fetch moge-2-vitl-normal`, or download model.pt "
        "from https://huggingface.co/Ruicheng/moge-2-vitl-normal and put it at "
        f"{tmp_path / 'moge2.pt'}"
    )


def test_find_offers_no_command_for_a_file_that_is_not_on_the_hub(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find("ppd-moge", tmp_path)
    assert str(caught.value) == (
        "ppd_moge.pth is missing: download ppd_moge.pth from "
        "https://drive.google.com/file/d/1tabmcsbRVDKDfmO4KU1vOjurzN-wp0HV/view "
        f"and put it at {tmp_path / 'ppd_moge.pth'}"
    )


def test_find_refuses_an_unknown_name_and_a_path_without_a_file(tmp_path):
    with pytest.raises(WeightsError, match="unknown weights 'pdp'; known names: ppd, depth-any"):
        find("pdp", tmp_path)
    with pytest.raises(WeightsError, match=r"weight file /no/such\.pth does not exist"):
        find("/no/such.pth")


def test_verify_compares_with_the_registry(tmp_path, register_toy):
    register_toy(sha256=SHA256)
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    found = verify("toy", tmp_path)
    assert found == Verification(tmp_path / "toy.pth", SHA256, len(CONTENT), "ok")
    (tmp_path / "toy.pth").write_bytes(CONTENT + b"x")
    assert verify("toy", tmp_path).status == "mismatch"
    assert verify(tmp_path / "toy.pth").status == "mismatch"


def test_verify_says_unknown_of_a_file_that_nothing_is_known_of(tmp_path, toy):
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    (tmp_path / "mine.pth").write_bytes(b"")
    assert verify("toy", tmp_path).status == "unknown"
    assert verify(tmp_path / "mine.pth") == Verification(
        tmp_path / "mine.pth", hashlib.sha256(b"").hexdigest(), 0, "unknown"
    )


def test_verify_reports_a_file_that_cannot_be_read(tmp_path, toy, monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error")

    (tmp_path / "toy.pth").touch()
    monkeypatch.setattr(registry, "sha256_of", broken)
    with pytest.raises(WeightsError, match=r"toy\.pth cannot be read: Input/output error"):
        verify("toy", tmp_path)
