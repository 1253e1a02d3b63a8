"""Depth images with holes, for what cannot take any."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def fill_nearest(image: Tensor, known: Tensor) -> Tensor:
    """Give each unknown pixel the value of the nearest known one.

    No value is made that is not there: a border inside a hole stays a border.

    Args:
        image: (H, W) float; not read where it is not known.
        known: (H, W) bool.

    Returns:
        (H, W), of the image's dtype and on its device.

    Raises:
        ValueError: the shapes differ, or nothing is known.
    """
    if image.ndim != 2 or image.shape != known.shape:
        raise ValueError(
            f"image and known must be (H, W) alike, got {tuple(image.shape)} and "
            f"{tuple(known.shape)}"
        )
    if not known.any():
        raise ValueError("no pixel is known: there is nothing to fill the others with")
    if known.all():
        return image
    import cv2

    unknown = (~known).cpu().numpy().astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        unknown, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Labels number the known pixels from 1; the known ones themselves say which is which.
    nearest = torch.from_numpy(labels).to(image.device).long()
    values = image.new_zeros(int(nearest.max()) + 1)
    values[nearest[known]] = image[known]
    return values[nearest]
