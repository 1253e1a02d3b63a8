from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppd_core.compile_cache import VARIABLES, compile_cache_dir, keep_compiled

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def user_s_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # So that it is put back at the end.
    return tmp_path


def test_kernels_are_kept_in_the_user_s_cache(user_s_cache):
    folders = keep_compiled()
    assert compile_cache_dir() == user_s_cache / "ppd_ros" / "compiled"
    assert set(folders) == set(VARIABLES)
    for variable, folder in folders.items():
        assert folder.is_dir() and folder.parent == compile_cache_dir()
        assert os.environ[variable] == str(folder)
    assert len(set(folders.values())) == len(VARIABLES)
    assert keep_compiled() == folders


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_folder_that_the_user_chose_stays(variable, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    folders = keep_compiled()
    assert folders.pop(variable) == tmp_path / "mine"
    assert all(compile_cache_dir() in folder.parents for folder in folders.values())


def test_a_folder_that_cannot_be_made_is_an_error(user_s_cache):
    (user_s_cache / "ppd_ros").write_text("a file in its place")
    with pytest.raises(OSError, match="ppd_ros"):
        keep_compiled()


def test_torch_s_compiler_goes_by_it(user_s_cache):
    code = """
from ppd_core.compile_cache import keep_compiled
folders = keep_compiled()
try:
    from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir
except ImportError:  # torch 2.5
    from torch._inductor.runtime.runtime_utils import cache_dir, triton_cache_dir
assert cache_dir() == str(folders["TORCHINDUCTOR_CACHE_DIR"]), cache_dir()
assert triton_cache_dir(0) == str(folders["TRITON_CACHE_DIR"]), triton_cache_dir(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)
