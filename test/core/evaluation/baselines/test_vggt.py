"""VGGT, whose package is on no index: a stand-in with its interface."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
import torch

from ppd_core.evaluation.baselines import open_model
from ppd_core.evaluation.baselines.vggt import input_size
from ppd_core.evaluation.model import ModelError

PACKAGE = '''
import torch
from torch import nn

class VGGT(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    @classmethod
    def from_pretrained(cls, repo, *, local_files_only, token):
        assert (repo, local_files_only, token) == ("facebook/VGGT-1B", True, False)
        return cls()

    def forward(self, images):
        """Depth rises with the rows, 1 to 2; images (frames, 3, h, w) in [0, 1]."""
        frames, channels, h, w = images.shape
        assert channels == 3 and 0 <= images.min() <= images.max() <= 1 < 14 * (h % 14 == 0)
        rows = torch.linspace(1, 2, h)[None, None, :, None, None]
        return {"depth": rows.expand(1, frames, h, w, 1), "images": images}
'''


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    for folder in ("vggt", "vggt/models"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "vggt/models/vggt.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "vggt"]:
        del sys.modules[name]


def test_depth_is_brought_to_the_image_s_size(stand_in, image):
    model = open_model("vggt", "cpu")
    assert "non-commercial use only" in model.licence
    prediction = model(image)
    assert prediction.relative_depth.shape == (75, 101)
    assert prediction.metric_depth is None
    rows = prediction.relative_depth.mean(dim=1)
    assert (rows.diff() > 0).all()
    torch.testing.assert_close(rows[[0, -1]], torch.tensor([1.0, 2.0]), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (392, 518)), ((640, 480), (518, 392)), ((375, 1242), (154, 518))],
)
def test_the_longer_side_is_518(size, expected):
    assert input_size(*size) == expected


@pytest.mark.skipif(find_spec("vggt") is not None, reason="the package is installed")
def test_without_the_package_one_sentence_says_where_it_is():
    with pytest.raises(ModelError, match="vggt needs its authors' package vggt"):
        open_model("vggt", "cpu")
