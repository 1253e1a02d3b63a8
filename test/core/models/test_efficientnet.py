from __future__ import annotations

import pytest
import torch

from ppd_core.models.efficientnet import PYRAMID_WIDTHS, EfficientNetLite0
from ppd_core.training.imagenet import folded


@pytest.fixture(scope="module")
def reference():
    """timm's network, its batch norms' statistics and factors drawn, too."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model(
            "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)
        )
        for name, value in net.state_dict().items():
            if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", ".bias")):
                value.normal_(std=0.3)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoder(reference):
    encoder = EfficientNetLite0().requires_grad_(False)
    encoder.load_state_dict(dict(folded(encoder, reference.state_dict())))
    return encoder


# 1/16 of 48 is odd: there a stride pads both of its ends, elsewhere the last alone.
@pytest.mark.parametrize("size", [(64, 96), (48, 80), (16, 16)])
def test_a_pyramid_is_timms_with_the_batch_norms_folded_in(encoder, reference, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pyramid = encoder(image)
    for features, expected in zip(pyramid, reference(image), strict=True):
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    sides = [tuple(-(-side // step) for side in size) for step in (4, 8, 16, 32)]
    shapes = [(2, width, *one) for width, one in zip(PYRAMID_WIDTHS, sides, strict=True)]
    assert [tuple(features.shape) for features in pyramid] == shapes
