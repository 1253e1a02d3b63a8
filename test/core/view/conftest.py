"""Recordings that are written and read back, by Rerun's own hands."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from ppd_core.types import Intrinsics
from ppd_core.view.frame import ShownAlignment, ViewFrame

WIDTH, HEIGHT = 8, 6
STAMP_NS = 1_790_000_000_123_456_789


class Shown:
    """What a file of Rerun holds, of its first recording.

    Attributes:
        rows: entity -> its rows in the order of writing, each column -> value; what never changes
            is not among them. Times are nanoseconds.
        constants: entity -> column -> value, of what never changes.
        timelines: their names.
        blueprint_count: how many layouts are in it.
    """

    def __init__(self, path):
        from rerun.chunk import RrdReader

        reader = RrdReader(path)
        self.blueprint_count = len(reader.blueprints())
        self.rows, self.constants, self.timelines = {}, {}, set()
        for chunk in reader.stream().to_chunks():
            self.timelines |= set(chunk.timeline_names)
            path = chunk.entity_path.lstrip("/")
            for row in _in_nanoseconds(chunk.to_record_batch()).to_pylist():
                row = {name: value for name, value in row.items() if value is not None}
                if chunk.is_static:
                    self.constants.setdefault(path, {}).update(row)
                else:
                    self.rows.setdefault(path, []).append(row)

    def values(self, path, name):
        """Of an entity, each value that a column had."""
        return [row[name] for row in self.rows.get(path, []) if name in row]

    def depths(self, path):
        """The depth images of an entity, (H, W) float32."""
        images = []
        for row in self.rows.get(path, []):
            if "DepthImage:buffer" in row:
                (form,) = row["DepthImage:format"]
                data = np.frombuffer(bytes(row["DepthImage:buffer"][0]), np.float32)
                images.append(data.reshape(form["height"], form["width"]))
        return images


def _in_nanoseconds(batch):
    """A batch whose times are integers: Python's own stop at microseconds."""
    import pyarrow as pa

    columns = [
        column.cast(pa.int64()) if pa.types.is_temporal(column.type) else column
        for column in batch.columns
    ]
    return pa.table(columns, names=batch.schema.names)


def free_ports():
    """A port that is free, as is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture
def show(tmp_path):
    """Logs frames to a file; returns what is in it, and the scene."""
    rr = pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")
    from ppd_core.view.scene import Scene

    def run(*frames, max_points=10_000):
        path = tmp_path / "shown.rrd"
        recording = rr.RecordingStream("test")
        recording.set_sinks(rr.FileSink(str(path)))
        scene = Scene(recording, max_points=max_points)
        for frame in frames:
            scene.log(frame)
        recording.flush(timeout_sec=20)
        recording.disconnect()
        return Shown(path), scene

    return run


@pytest.fixture
def camera():
    """Of frames of 8 x 6 pixels."""
    return Intrinsics(WIDTH, HEIGHT, 10.0, 11.0, 3.0, 2.0)


@pytest.fixture
def make_frame(camera):
    """Makes a frame that has everything; what is given is otherwise."""

    def make(index=0, **given):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[..., 0] = 200
        values = {
            "stamp_ns": STAMP_NS + index * 10**8,
            "image": image,
            "depth": np.linspace(1, 3, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH),
            "intrinsics": camera,
            "alignment": ShownAlignment("fitted", "depth", 1.5, 0.25, 0.9, 0.02),
            "latencies_ms": {"sample": 12.5},
        }
        return ViewFrame(index, **{**values, **given})

    return make
