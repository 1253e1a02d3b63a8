"""A small recording whose sensor agrees with nano up to a line, made once for several tests."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ppd_core.bag import making, parts
from ppd_core.bag.messages import stamp_ns
from ppd_core.bag.reader import BagReader
from ppd_core.bag.writer import BagWriter
from ppd_core.pipeline import DepthPipeline
from ppd_core.types import Intrinsics

WIDTH, HEIGHT = 64, 48
AREA = WIDTH * HEIGHT
BEGIN_NS = 1_700_000_000_123_456_789
PERIOD_NS = 100_000_007
LATE_NS = 5_000_000
"""How long after its stamp an image was recorded."""
CAMERA = Intrinsics.from_fov(WIDTH, HEIGHT, 60)


def images(count: int) -> list[np.ndarray]:
    """Smooth pictures that move a little from one to the next; without an edge of colour."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH] / 16
    waves = [(1, 2), (2, 1), (1, 1)]
    return [
        np.stack(
            [127 + 40 * np.sin(rows * down + cols * right + index / 8) for down, right in waves],
            axis=-1,
        ).astype(np.uint8)
        for index in range(count)
    ]


def write_recording(
    folder: Path, pipeline: DepthPipeline, count: int, *, chunk_bytes: int | None = None
) -> Path:
    """Images, their calibration, a sensor and another topic; the folder."""
    with pytest.MonkeyPatch.context() as patch, BagWriter(folder) as writer:
        if chunk_bytes is not None:
            patch.setattr(parts, "CHUNK_BYTES", chunk_bytes)
        for index, rgb in enumerate(images(count)):
            stamp_ns = BEGIN_NS + index * PERIOD_NS
            header = making.make_header(stamp_ns, "camera")
            log_ns = stamp_ns + LATE_NS
            relative = pipeline(rgb, num_steps=1, processing_area=AREA).relative_depth
            metres = torch.expm1(1.1 * relative + 0.7)
            writer.write("/camera/camera_info", log_ns, making.info_message(CAMERA, header))
            writer.write("/camera/image_raw", log_ns + 1, making.rgb_message(rgb, header))
            sensor = making.depth_mm_message(metres, header)
            writer.write("/camera/aligned_depth/image_raw", log_ns + 30_000_000, sensor)
            other = making.diagnostics_message(stamp_ns, [])
            writer.write("/other", log_ns + 2, other)
        writer.close({})
    return folder


def read_all(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Topic -> log time and content of its messages, in the order of the times."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    with BagReader(path) as reader:
        for message in reader.messages():
            found[message.topic].append((message.log_ns, bytes(message.data)))
        assert reader.gaps == []
    return {topic: sorted(messages) for topic, messages in found.items()}


def read_topic(path: Path, topic: str) -> list[Any]:
    """The messages of a topic."""
    with BagReader(path) as reader:
        return [reader.deserialize(message) for message in reader.messages({topic})]


def stamps_ns(messages: list[Any]) -> list[int]:
    """Of the headers."""
    return [stamp_ns(one) for one in messages]


@pytest.fixture(scope="session")
def nano() -> DepthPipeline:
    """A trained model that is small."""
    return DepthPipeline.from_pretrained("nano", device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def recording(nano: DepthPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames."""
    return write_recording(tmp_path_factory.mktemp("recording") / "in", nano, 12)


@pytest.fixture(scope="session")
def tools() -> SimpleNamespace:
    """The functions and numbers of this file."""
    return SimpleNamespace(**{key: value for key, value in globals().items() if key[0] != "_"})
