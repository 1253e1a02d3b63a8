"""What estimates the frames of an input, as the options of a command say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.cli.camera_options import alignment_of
from ppd_core.cli.model_options import effort

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.alignment.aligner import Evidence
    from ppd_core.alignment.anchors import Anchors
    from ppd_core.depth_result import DepthResult
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.steady import EvidenceOf, SteadyDepth

SOURCES = ("constant", "moge2")
"""What can make metres of an image alone."""


def evidence_of(args: argparse.Namespace) -> EvidenceOf | None:
    """What ties a frame to metres; None = depth stays relative.

    Raises:
        ValueError: the options contradict each other.
    """
    constant = alignment_of(args)
    source = args.source or (None if constant is None else "constant")
    if source == "moge2":
        if constant is not None:
            raise ValueError("--source moge2 has metres of its own, got --near and --far, too")
        return lambda own_anchors: own_anchors()
    if source is None:
        return None
    if constant is None:
        raise ValueError("--source constant needs --near and --far")
    given = constant

    def constant_evidence(own_anchors: Callable[[], Anchors]) -> Evidence:
        return given

    return constant_evidence


def check_source(args: argparse.Namespace, pipeline: DepthPipeline) -> None:
    """Refuse a source that the model cannot be.

    Raises:
        ValueError: it has no metres of its own.
    """
    if args.source != "moge2":
        return
    kind = None if pipeline.config.prompt is None else pipeline.config.prompt.kind
    if pipeline.is_package or kind != "moge2":
        raise ValueError(
            "--source moge2 needs a checkpoint with MoGe-2's prompt (--model ppd-moge2), got "
            f"--model {args.model}"
        )


def begin(
    args: argparse.Namespace,
    pipeline: DepthPipeline,
    evidence: EvidenceOf | None,
    *,
    is_video: bool,
) -> SteadyDepth:
    """What estimates the frames of one input."""
    from ppd_core.steady import SteadyDepth
    from ppd_core.stream import DepthStream

    num_steps, processing_area = effort(args, pipeline.config)
    settled: dict[str, Any] = {"num_steps": num_steps, "processing_area": processing_area}

    def alone(image: np.ndarray, stamp_s: float, **known: Any) -> DepthResult:
        return pipeline(image, **known, **settled)

    stream = partial(DepthStream(pipeline), **settled) if args.warm_start else alone
    config = AlignmentConfig(is_tracked=is_video and not args.no_track)
    return SteadyDepth(stream, evidence, config)
