"""What all evaluation sets have in common."""

from __future__ import annotations

import numpy as np
import pytest

from ppd_core.data.eval_sets import EVAL_SETS, SampleError, open_eval_set


@pytest.mark.parametrize("name", [*EVAL_SETS])
def test_an_empty_folder_is_refused_with_what_was_looked_for(tmp_path, name):
    pytest.importorskip("h5py", reason="pip install ppd_ros[eval]")
    with pytest.raises(ValueError) as caught:
        open_eval_set(name, tmp_path)
    assert f"in {tmp_path}: no " in str(caught.value)
    assert "; expected ROOT/" in str(caught.value)
    with pytest.raises(ValueError, match="no folder"):
        open_eval_set(name, tmp_path / "absent")


@pytest.mark.parametrize("name", [*EVAL_SETS])
def test_every_set_says_what_it_is(name):
    info = EVAL_SETS[name]
    assert info.split and info.licence and info.counts
    assert info.page.startswith("http") or name in ("folder", "simulated")


def test_an_unknown_name_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of nyuv2, .*, simulated, got 'sintel'"):
        open_eval_set("sintel", tmp_path)


def test_a_damaged_picture_is_an_error_of_its_sample_alone(tmp_path, write_red):
    for name in "ab":
        path = write_red(tmp_path / f"image/{name}.jpg", 40, 60)
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / f"depth/{name}.npy", np.ones((40, 60), np.float32))
    path.write_bytes(path.read_bytes()[:200])
    data = open_eval_set("folder", tmp_path)
    assert data[0].valid_mask.all()
    with pytest.raises(SampleError, match=r"folder, sample b: .*b.jpg"):
        data[1]
