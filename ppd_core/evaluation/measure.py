"""One image through model, protocol and metrics: its figures, or the reason that it has none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ppd_core.data.eval_samples import EvalSample, SampleError
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.edge_cloud import edge_shares
from ppd_core.evaluation.failures import ImageFailure
from ppd_core.evaluation.metrics import METRICS, counted_mask
from ppd_core.evaluation.model import DepthModel, Oracle, Prediction, SensorModel, predict
from ppd_core.evaluation.protocols import AlignmentProtocol, ProtocolError
from ppd_core.evaluation.records import Record
from ppd_core.types import Intrinsics

AnyModel = DepthModel | SensorModel | Oracle
COVERAGE = "coverage"
"""Of a depth with holes: the share of the truth's pixels that it was measured at."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a model said of a sample, on the model's device.

    Attributes:
        prediction: of every pixel; finite inside the mask.
        space: of the model.
        truth: (H, W) float32, metres; read inside the mask.
        valid_mask: (H, W) bool, where truth counts and, of a depth with holes, the prediction is.
        coverage: see `COVERAGE`.
        seconds: of the model.
    """

    prediction: Prediction
    space: str
    truth: Tensor
    valid_mask: Tensor
    coverage: float
    seconds: float


def estimate(model: AnyModel, sample: EvalSample) -> Estimate:
    """Run the model on a sample, both checked.

    Raises:
        ImageFailure: the sample is of several sizes or has no truth, or the model gave no answer,
            or one that is not a number where there is truth. A model that says `has_holes` is
            measured where it has depth.
    """
    truth, valid_mask = _checked_truth(sample)
    sensor_depth = sample.sensor_depth
    start = time.perf_counter()
    with _as_failure("model_failed", ValueError, RuntimeError):
        prediction = predict(
            model,
            sample.image,
            intrinsics=sample.intrinsics,
            sensor_depth=None if sensor_depth is None else torch.from_numpy(sensor_depth),
            truth=truth,
            valid_mask=valid_mask,
        )
        found = tuple(prediction.relative_depth.shape)
        if found != tuple(truth.shape):
            raise ValueError(f"depth must be {tuple(truth.shape)}, got {found}")
        is_finite = _is_finite(prediction)
        finite_pixels = int((is_finite.cpu() & valid_mask).sum())  # which also waits for a GPU
    seconds = time.perf_counter() - start
    pixels = int(valid_mask.sum())
    device = is_finite.device
    truth, valid_mask = truth.to(device), valid_mask.to(device)
    if getattr(model, "has_holes", False) and finite_pixels:
        valid_mask = valid_mask & is_finite
    elif finite_pixels < pixels:
        raise ImageFailure(
            "prediction_invalid", f"{pixels - finite_pixels} of {pixels} pixels are not finite"
        )
    coverage = finite_pixels / pixels
    return Estimate(prediction, model.space, truth, valid_mask, coverage, seconds)


def align(protocol: AlignmentProtocol, found: Estimate) -> Tensor:
    """(H, W) metres by the protocol.

    Raises:
        ImageFailure: it could not.
    """
    with _as_failure("not_aligned", ProtocolError):
        return protocol.align(found.prediction, found.truth, found.valid_mask, space=found.space)


def measure(
    predicted: Tensor, truth: Tensor, valid_mask: Tensor, intrinsics: Intrinsics | None
) -> dict[str, float]:
    """Every metric of one image; NaN where it has nothing to measure that at.

    Args:
        predicted, truth: (H, W), metres.
        valid_mask: (H, W) bool.
        intrinsics: with them, the clouds' metrics, too.
    """
    planes = predicted[None], truth[None], valid_mask[None]
    # Found together: what takes long is to find the pixels.
    found = {name: float(value) for name, value in edge_shares(*planes).items()}
    figures = {
        name: found[name] if name in found else float(metric.function(*planes))
        for name, metric in METRICS.items()
    }
    if intrinsics is not None:
        for name, cloud in CLOUD_METRICS.items():
            figures[name] = float(cloud.function(*planes, intrinsics))
    return figures


def measure_image(
    model: AnyModel,
    protocols: Mapping[str, AlignmentProtocol],
    name: str,
    read: Callable[[], EvalSample],
) -> dict[str, Record]:
    """One image, once through the model, by each protocol.

    Args:
        model: what is measured.
        protocols: name -> protocol.
        name: of the image.
        read: reads it.

    Returns:
        Protocol -> record; none is missing.
    """
    try:
        with _as_failure("unreadable", SampleError, OSError):
            sample = read()
        found = estimate(model, sample)
    except ImageFailure as failure:
        return {key: _failed(name, failure) for key in protocols}
    return {
        key: _record(protocol, name, found, sample.intrinsics)
        for key, protocol in protocols.items()
    }


def _record(
    protocol: AlignmentProtocol, name: str, found: Estimate, intrinsics: Intrinsics | None
) -> Record:
    start = time.perf_counter()
    try:
        predicted = align(protocol, found)
        figures = measure(predicted, found.truth, found.valid_mask, intrinsics)
        if not math.isfinite(figures["absrel"]):
            raise ImageFailure("prediction_invalid", "the aligned depth is not finite")
    except ImageFailure as failure:
        return _failed(name, failure)
    if found.coverage < 1:
        figures[COVERAGE] = found.coverage
    seconds = time.perf_counter() - start
    return Record(name, figures, model_s=found.seconds, metrics_s=seconds)


def _failed(name: str, failure: ImageFailure) -> Record:
    return Record(name, failure=failure.reason, detail=str(failure))


def _checked_truth(sample: EvalSample) -> tuple[Tensor, Tensor]:
    sizes = [array.shape[:2] for array in (sample.image, sample.depth, sample.valid_mask)]
    if sizes != [sizes[0]] * 3:
        text = ", ".join(f"{width} x {height}" for height, width in sizes)
        raise ImageFailure("sizes_differ", f"image, depth and mask are {text}")
    truth, valid_mask = torch.from_numpy(sample.depth), torch.from_numpy(sample.valid_mask)
    is_counted = counted_mask(truth, valid_mask, math.inf)
    if not is_counted.any():
        raise ImageFailure("no_truth", f"none of {is_counted.numel()} pixels counts")
    return truth, is_counted


def _is_finite(prediction: Prediction) -> Tensor:
    is_finite = torch.isfinite(prediction.relative_depth)
    if prediction.metric_depth is not None:
        is_finite = is_finite & torch.isfinite(prediction.metric_depth)
    return is_finite


@contextmanager
def _as_failure(reason: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise ImageFailure(reason, str(error) or type(error).__name__) from error
