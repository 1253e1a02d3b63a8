from __future__ import annotations

import numpy as np
import pytest

from ppd_core import Intrinsics
from ppd_core.data.eval_samples import (
    ListedSet,
    Listing,
    SampleError,
    box,
    make_eval_sample,
    read_png16,
)

IMAGE = np.zeros((2, 4, 3), np.uint8)


def test_what_is_no_depth_is_nan_and_does_not_count():
    depth = np.array([[0, -1, np.inf, np.nan], [0.5, 1, 9, 10]])
    sample = make_eval_sample("a", IMAGE, depth, near_m=0.5, far_m=10)
    np.testing.assert_array_equal(sample.depth, [[np.nan] * 4, [0.5, 1, 9, 10]])
    assert sample.depth.dtype == np.float32
    assert sample.valid_mask.tolist() == [[False] * 4, [False, True, True, False]]
    cropped = make_eval_sample("a", IMAGE, depth, crop=box((2, 4), 0, 2, 1, 3))
    assert cropped.valid_mask.tolist() == [[False] * 4, [False, True, True, False]]


def test_sizes_that_differ_are_refused():
    depth = np.ones((2, 4))
    for other in (
        {"crop": np.ones((2, 3), bool)},
        {"sensor_depth": np.ones((1, 4))},
        {"intrinsics": Intrinsics.from_fov(4, 3, 60)},
    ):
        with pytest.raises(ValueError, match=r"must have one size \(H, W\), got \(2, 4\) and"):
            make_eval_sample("a", IMAGE, depth, **other)
    with pytest.raises(ValueError, match=r"got \(2, 4\) and \[\(4, 2\)\]"):
        make_eval_sample("a", IMAGE, depth.T)


def test_a_set_counts_as_a_list_does_and_names_what_it_cannot_read():
    def read(index: int):
        if index == 1:
            raise OSError(5, "Input/output error", "/data/b.png")
        return make_eval_sample("abc"[index], IMAGE, np.ones((2, 4)))

    data = ListedSet("toy", "all", "MIT", "https://example.org", Listing(list("abc"), read))
    assert len(data) == 3
    assert list(data.names()) == ["a", "b", "c"]
    assert data[-1].name == data[2].name == "c"
    assert data.split == "all"
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"toy has 3 samples, got index {index}"):
            data[index]
    with pytest.raises(SampleError, match=r"toy, sample b: .*/data/b.png"):
        data[1]


def test_a_folder_may_say_which_split_it_is():
    data = ListedSet("toy", "all", "MIT", "", Listing([], lambda index: None, "half"))
    assert data.split == "half"


def test_only_a_16_bit_grey_png_is_depth(tmp_path, write_red, write_png16):
    path = write_png16(tmp_path / "a.png", np.array([[0, 65535]]))
    assert read_png16(path).tolist() == [[0, 65535]]
    with pytest.raises(ValueError, match=r"b.png must be 16-bit grey, got \(2, 2, 3\) uint8"):
        read_png16(write_red(tmp_path / "b.png", 2, 2))
    with pytest.raises(ValueError, match=r"cannot read .*c.png"):
        read_png16(tmp_path / "c.png")
