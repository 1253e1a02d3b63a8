"""A recording that is copied from one format to another stays the same recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from ppd_core.bag import making
from ppd_core.bag.output_names import SUFFIXES
from ppd_core.bag.reader import BagReader
from ppd_core.bag.writer import BagWriter
from ppd_core.types import Intrinsics

START_NS = 1_700_000_000 * 10**9


def write(folder: Path, storage: str) -> None:
    with BagWriter(folder, storage=storage) as writer:
        for number in range(4):
            time_ns = START_NS + number * 10**8
            header = making.make_header(time_ns - 5_000_001, "camera")
            depth = np.full((300, 400), number + 1, np.float32)
            pose = (0, 0, 1), (0, 0, 0, 1)
            transform = making.transform_message(time_ns, "base", "camera", *pose)
            writer.write("/tf_static", time_ns, transform)
            writer.write("/depth", time_ns + 1, making.depth_message(depth, header))
            camera = Intrinsics.from_fov(400, 300, 70)
            writer.write("/camera_info", time_ns + 2, making.info_message(camera, header))
            writer.write("/alignment", time_ns + 3, making.alignment_message(None, header))
            if number == 1:
                writer.checkpoint({})
        writer.close({})


def copy(source: Path, folder: Path, storage: str) -> None:
    with BagReader(source) as reader, BagWriter(folder, storage=storage) as writer:
        for message in reader.messages():
            writer.copy(reader.topics[message.topic], message)
        assert not reader.gaps
        writer.close({})


def contents(folder: Path) -> tuple[list, dict]:
    with BagReader(folder) as reader:
        messages = [(m.topic, m.msgtype, m.log_ns, bytes(m.data)) for m in reader.messages()]
        assert not reader.gaps
        topics = {
            name: (topic.msgtype, topic.count, topic.qos) for name, topic in reader.topics.items()
        }
    return messages, topics


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("storage", SUFFIXES)
def test_messages_stay_the_same_to_the_byte(source, storage, tmp_path):
    write(tmp_path / "source", source)
    copy(tmp_path / "source", tmp_path / "copy", storage)
    messages, topics = contents(tmp_path / "source")
    copied, copied_topics = contents(tmp_path / "copy")
    assert len(messages) == 16
    assert copied == messages
    if "ros1" not in (source, storage):  # which knows no more of QoS than whether it is latched
        assert copied_topics == topics
