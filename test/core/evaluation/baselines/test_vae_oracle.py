"""GT(VAE): what the round trip keeps of the truth."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ppd_core.evaluation.baselines import MODELS, open_model
from ppd_core.evaluation.baselines.vae_oracle import VaeOracle
from ppd_core.evaluation.model import ModelError, Oracle

CARD = MODELS["oracle:vae"]


class Lossless:
    """A VAE whose latent is the image."""

    device, dtype = torch.device("cpu"), torch.float32
    config = SimpleNamespace(block_out_channels=(1, 1, 1, 1))

    def eval(self):
        return self

    def enable_tiling(self):
        pass

    def encode(self, pixels):
        assert pixels.shape[-1] % 8 == pixels.shape[-2] % 8 == 0
        assert pixels.shape[1] == 3
        self.pixels = pixels
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: pixels))

    def decode(self, latent, return_dict):
        return (latent,)


def truth_of(rows=75, cols=101):
    return torch.linspace(1.0, 6.0, rows * cols).view(rows, cols)


def test_a_lossless_vae_keeps_all_between_the_quantiles():
    truth = truth_of()
    near, far = 1.1, 5.9  # 2 % and 98 % of 1 to 6
    prediction = VaeOracle(CARD, Lossless()).reconstruct(truth, truth > 0)
    torch.testing.assert_close(prediction.metric_depth, truth.clamp(near, far))
    expected = (truth.clamp(near, far) - near) / (far - near)
    torch.testing.assert_close(prediction.relative_depth, expected)


def test_what_is_not_valid_decides_nothing():
    truth = truth_of()
    valid = truth < 3
    holes = truth.masked_fill(~valid, torch.nan)
    holes[0, :3] = torch.tensor([0.0, -1.0, torch.inf])  # not valid, whatever the mask says
    vae = Lossless()
    prediction = VaeOracle(CARD, vae).reconstruct(holes, valid)
    assert torch.isfinite(prediction.metric_depth).all()
    assert prediction.metric_depth.max() < 3
    assert vae.pixels.min() == -1
    assert vae.pixels.max() == 1


def test_one_depth_alone_and_none_at_all():
    oracle = VaeOracle(CARD, Lossless())
    assert isinstance(oracle, Oracle)
    flat = torch.full((16, 24), 2.0)
    torch.testing.assert_close(oracle.reconstruct(flat, flat > 0).metric_depth, flat)
    with pytest.raises(ModelError, match="no pixel of this one is valid"):
        oracle.reconstruct(flat, flat > 5)


def test_a_real_vae_of_random_weights_is_loaded_and_answers_at_the_truth_s_size(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=64,  # smaller than the truth: it goes in tiles
    )
    vae.save_pretrained(tmp_path / "vae")
    oracle = open_model("oracle:vae", "cpu", repo=tmp_path)
    truth = truth_of()
    prediction = oracle.reconstruct(truth, truth > 0)
    assert prediction.relative_depth.shape == truth.shape
    assert 0 <= prediction.relative_depth.min() < prediction.relative_depth.max() <= 1
    assert prediction.metric_depth.min() >= 1
    assert prediction.metric_depth.max() <= 6
