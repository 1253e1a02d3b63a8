from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from rosbags.rosbag2 import CompressionMode, StoragePlugin

from ppd_core.bag import opened_files
from ppd_core.bag.reader import BagReader, Gap

Message = tuple[str, int, bytes]
Bags = SimpleNamespace


def read(path: Path) -> tuple[list[Message], list[Gap]]:
    with BagReader(path) as reader:
        messages = [(one.topic, one.log_ns, one.data) for one in reader.messages()]
        return messages, reader.gaps


@pytest.fixture
def split(bags: Bags, tmp_path: Path) -> Path:
    """A bag of twelve files, one second and two messages each."""
    folder = tmp_path / "b"
    folder.mkdir()
    files: list[dict[str, Any]] = []
    for number in range(12):
        part = bags.recorded()[2 * number : 2 * number + 2]
        bags.mcap(folder / f"b_{number}.mcap", part)
        span = {
            "path": f"b_{number}.mcap",
            "starting_time": {"nanoseconds_since_epoch": part[0][1]},
            "duration": {"nanoseconds": 7},
            "message_count": 2,
        }
        files.append(span)
    metadata = {"relative_file_paths": [f"b/{one['path']}" for one in files], "files": files}
    text = yaml.safe_dump({"rosbag2_bagfile_information": metadata})
    (folder / "metadata.yaml").write_text(text)
    return folder


def test_files_are_read_one_after_the_other(bags: Bags, split: Path):
    assert read(split) == (bags.recorded(), [])
    with BagReader(split) as reader:
        assert reader.topics["/info"].count == 12
        assert (reader.begin_ns, reader.end_ns) == (0, 11 * 10**9 + 7)


def test_two_passes_at_once_do_not_close_each_others_files(
    bags: Bags, split: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(opened_files, "OPEN_FILES", 2)
    with BagReader(split) as reader:
        slow = reader.messages()
        first = next(slow)
        assert len(list(reader.messages())) == 24
        assert [first.data, *(one.data for one in slow)] == [one[2] for one in bags.recorded()]
        assert reader.gaps == []


@pytest.mark.parametrize("content", [None, b"", b"not what it was" * 9])
def test_a_file_that_cannot_be_read_is_a_gap(bags: Bags, split: Path, content: bytes | None):
    file = split / "b_3.mcap"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    messages, gaps = read(split)
    assert messages == bags.recorded()[:6] + bags.recorded()[8:]
    (gap,) = gaps
    assert (gap.path, gap.begin_ns, gap.end_ns) == (file, 3 * 10**9, 3 * 10**9 + 7)
    assert gap.detail.endswith(", and with it 2 messages")
    assert gap.describe().startswith(f"{file}, at 3.000 s: the file ")


def test_metadata_that_is_broken_is_done_without(bags: Bags, split: Path):
    for text in ("[", "rosbag2_bagfile_information:\n", "\x00\xff", ""):
        (split / "metadata.yaml").write_text(text)
        assert read(split) == (bags.recorded(), [])
    (split / "metadata.yaml").unlink()
    assert read(split) == (bags.recorded(), [])


def test_a_compressed_file_that_was_cut_off_gives_its_begin(bags: Bags, tmp_path: Path):
    messages = [one for index in range(40) for one in bags.recorded()]
    messages = [(topic, index, data) for index, (topic, _, data) in enumerate(messages)]
    folder = bags.rosbag2(
        tmp_path / "b", StoragePlugin.MCAP, CompressionMode.FILE, messages=messages
    )
    (file,) = folder.glob("*.zstd")
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    read_messages, gaps = read(folder)
    assert read_messages == messages[: len(read_messages)]
    assert gaps and all(one.path == file for one in gaps)


def test_a_type_without_definition_is_listed_and_copied(bags: Bags, tmp_path: Path):
    path = tmp_path / "b.mcap"
    from mcap.writer import Writer

    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        for name in ("my_msgs/msg/Heat", "sensor_msgs/msg/Image"):
            schema = writer.register_schema(name, "", b"")
            channel = writer.register_channel(f"/{name}", "cdr", schema)
            writer.add_message(channel, 5, bags.cdr(bags.image(3)), 5)
        writer.finish()
    with BagReader(path) as reader:
        assert reader.topics["/my_msgs/msg/Heat"].definition == ""
        heat, image = reader.messages()
        assert heat.data == bags.cdr(bags.image(3))
        with pytest.raises(ValueError, match=r"does not bring the definition of my_msgs/msg/Heat"):
            reader.deserialize(heat)
        assert reader.deserialize(image).width == 5


def test_a_message_that_is_none_of_its_type_is_refused_in_a_sentence(bags: Bags, tmp_path: Path):
    messages = [("/image", 0, b"\x00\x01\x00\x00" + bytes(3)), ("/image", 1, b"")]
    with BagReader(bags.mcap(tmp_path / "b.mcap", messages)) as reader:
        for message in reader.messages():
            with pytest.raises(ValueError, match=r"a message of /image is no sensor_msgs/msg/Im"):
                reader.deserialize(message)
