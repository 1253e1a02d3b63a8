from __future__ import annotations

import errno
import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from ppd_core.bag import bag_folder, making, parts
from ppd_core.bag.metadata import default_qos
from ppd_core.bag.output_names import SUFFIXES
from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_core.bag.typestore import typestore
from ppd_core.bag.writer import BagWriter

STORE = typestore()
SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS


def image(number: int = 0):
    header = making.make_header(START_NS + number, "camera")
    return making.rgb_message(np.full((4, 6, 3), number, np.uint8), header)


def information(folder: Path):
    document = yaml.safe_load((folder / "metadata.yaml").read_text())
    return document["rosbag2_bagfile_information"]


def write_images(writer: BagWriter, *numbers: int) -> None:
    for number in numbers:
        writer.write("/image", START_NS + number * SECOND_NS, image(number))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_metadata_tells_of_all_parts(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 3, 0)  # not in the order of time
        writer.checkpoint({})
        write_images(writer, 7)
        writer.close({})
    told = information(folder)
    assert told["version"] == 9
    assert told["storage_identifier"] == "mcap"
    assert told["relative_file_paths"] == ["run_0.mcap", "run_1.mcap"]
    assert told["message_count"] == 3
    assert told["starting_time"] == {"nanoseconds_since_epoch": START_NS}
    assert told["duration"] == {"nanoseconds": 7 * SECOND_NS}
    assert told["files"] == [
        {
            "path": "run_0.mcap",
            "starting_time": {"nanoseconds_since_epoch": START_NS},
            "duration": {"nanoseconds": 3 * SECOND_NS},
            "message_count": 2,
        },
        {
            "path": "run_1.mcap",
            "starting_time": {"nanoseconds_since_epoch": START_NS + 7 * SECOND_NS},
            "duration": {"nanoseconds": 0},
            "message_count": 1,
        },
    ]
    (topic,) = told["topics_with_message_count"]
    assert topic["message_count"] == 3
    assert topic["topic_metadata"]["type"] == "sensor_msgs/msg/Image"
    # As ROS 2 Jazzy computes it.
    assert topic["topic_metadata"]["type_description_hash"] == (
        "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
    )


def test_what_is_sent_once_stays_for_who_comes_late(folder):
    transform = making.transform_message(0, "base", "camera", (0, 0, 1), (0, 0, 0, 1))
    with BagWriter(folder) as writer:
        for topic in ("/tf_static", "/tf"):
            writer.write(topic, START_NS, transform)
        writer.close({})
    with Reader(folder) as reader:
        qos = {one.topic: one.ext.offered_qos_profiles[0] for one in reader.connections}
    assert {one.reliability for one in qos.values()} == {QosReliability.RELIABLE}
    assert [qos[topic].durability for topic in ("/tf_static", "/tf")] == [
        QosDurability.TRANSIENT_LOCAL,
        QosDurability.VOLATILE,
    ]


def test_a_copied_topic_stays_as_it_was_declared(folder):
    (qos,) = default_qos(is_latched=False)
    qos = (qos._replace(reliability=QosReliability.BEST_EFFORT, depth=3),)
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", 7, "float64 x\n", "RIHS01_00", "ros2msg", qos)
    message = BagMessage("/odd", topic.msgtype, START_NS, b"\0\1\0\0" + b"\7" * 8)
    with BagWriter(folder) as writer:
        writer.copy(topic, message)
        writer.checkpoint({})
    with BagWriter(folder) as writer:  # as the progress file knows it
        writer.copy(topic, message)
        writer.close({})
    with Reader(folder) as reader:
        (connection,) = {one.topic: one for one in reader.connections}.values()
        assert connection.msgtype == "odd_msgs/msg/Odd"
        assert connection.msgdef.data == "float64 x\n"
        assert connection.digest == "RIHS01_00"
        assert connection.ext.offered_qos_profiles == list(qos)
        assert [data for _, _, data in reader.messages()] == [message.data] * 2


@pytest.mark.parametrize("storage", SUFFIXES)
def test_a_bag_without_messages_is_one(storage, folder):
    with BagWriter(folder, storage=storage) as writer:
        writer.declare(BagTopic("/image", "sensor_msgs/msg/Image"))
        writer.close({})
    assert (folder / f"run_0{SUFFIXES[storage]}").exists()
    if storage != "ros1":
        with Reader(folder) as reader:
            assert reader.message_count == 0
            assert list(reader.topics) == ["/image"]


def test_a_checkpoint_without_messages_makes_no_file(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        writer.checkpoint({"at": 1})
        writer.checkpoint({"at": 2})
        assert BagWriter.resumed(folder) == {"at": 2, "complete": False}
        writer.close({"at": 3})
    assert information(folder)["relative_file_paths"] == ["run_0.mcap"]
    assert BagWriter.resumed(folder) == {"at": 3, "complete": True}


def test_an_exception_throws_away_what_came_after_the_checkpoint(folder):
    with pytest.raises(KeyError), BagWriter(folder) as writer:
        write_images(writer, 0)
        writer.checkpoint({"at": 1})
        write_images(writer, 1)
        raise KeyError
    assert {path.name for path in folder.iterdir()} == {
        "run_0.mcap",
        "metadata.yaml",
        "ppd_bag.json",
    }
    assert information(folder)["message_count"] == 1
    assert BagWriter.resumed(folder) == {"at": 1, "complete": False}


def test_a_folder_that_was_renamed_is_gone_on_with(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        writer.checkpoint({})
    renamed = folder.rename(folder.with_name("other"))
    with BagWriter(renamed) as writer:
        write_images(writer, 1)
        writer.close({})
    with Reader(renamed) as reader:
        assert reader.message_count == 2


@pytest.mark.parametrize("name", ["metadata.yaml", "photo.jpg"])
def test_a_foreign_folder_is_left_alone(name, folder):
    folder.mkdir()
    (folder / name).write_text("mine")
    assert BagWriter.resumed(folder) is None
    with pytest.raises(ValueError, match=rf"must be new, empty or a bag .*, got one with {name}"):
        BagWriter(folder)
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]


def test_a_complete_bag_is_left_alone(folder):
    with BagWriter(folder) as writer:
        writer.close({})
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="must be new or not complete yet"):
        BagWriter(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    folder.write_text("mine")
    with pytest.raises(ValueError, match="must be a folder or not there"):
        BagWriter(folder)


def test_two_writers_of_one_folder_are_refused(folder):
    with BagWriter(folder), pytest.raises(ValueError, match="written to by another process"):
        BagWriter(folder)


def test_a_part_that_is_gone_is_told(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        writer.checkpoint({})
    (folder / "run_0.mcap").unlink()
    with pytest.raises(ValueError, match=r"run_0.mcap must have the \d+ bytes .*, got 0"):
        BagWriter(folder)


def test_another_storage_is_refused(folder):
    with BagWriter(folder) as writer:
        writer.checkpoint({})
    with pytest.raises(ValueError, match="is a bag of storage mcap, got sqlite3"):
        BagWriter(folder, storage="sqlite3")


def test_a_damaged_progress_file_is_told(folder):
    folder.mkdir()
    (folder / "ppd_bag.json").write_text("{")
    for open_it in (BagWriter, BagWriter.resumed):
        with pytest.raises(ValueError, match=r"cannot read .*ppd_bag.json"):
            open_it(folder)


def test_a_topic_has_one_type(folder):
    odd = BagTopic("/image", "odd_msgs/msg/Odd")
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        with pytest.raises(ValueError, match="/image can have one type only"):
            writer.write("/image", START_NS, image().header)
        with pytest.raises(ValueError, match="/image can have one type only"):
            writer.copy(odd, BagMessage("/image", odd.msgtype, START_NS, b""))
        writer.close({})  # It can be gone on with.
    assert information(folder)["message_count"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [({"step": -1}, "cannot be serialized"), ({"data": None}, "cannot be serialized")],
)
def test_a_message_with_wrong_values_is_told_and_costs_nothing(change, words, folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        with pytest.raises(ValueError, match=f"/image {words}"):
            writer.write("/image", START_NS, replace(image(), **change))
        writer.close({})
    assert information(folder)["message_count"] == 1


@pytest.mark.parametrize("log_ns", [-1, 2**63])
def test_a_time_that_is_none_is_told(log_ns, folder):
    with BagWriter(folder) as writer, pytest.raises(ValueError, match="log time of /image must"):
        writer.write("/image", log_ns, image())


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("log_ns", [0, 2**63 - 1])
def test_the_first_and_the_last_time_come_back(log_ns, storage, folder):
    with BagWriter(folder, storage=storage) as writer:
        writer.write("/image", log_ns, image())
        writer.close({})
    told = information(folder)
    assert told["starting_time"] == {"nanoseconds_since_epoch": log_ns}
    assert told["files"][0]["message_count"] == 1


def test_a_state_that_is_no_json_costs_nothing(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        for state in ({"at": float("nan")}, {"at": Path()}):
            with pytest.raises(ValueError, match="state must be JSON"):
                writer.checkpoint(state)
        writer.close({"at": 1})
    assert information(folder)["message_count"] == 1


def test_after_its_end_nothing_is_written(folder):
    with BagWriter(folder) as writer:
        writer.close({})
        for late in (lambda: write_images(writer, 0), lambda: writer.checkpoint({})):
            with pytest.raises(ValueError, match="must be opened anew"):
                late()


@pytest.mark.parametrize(
    "options", [{"storage": "bag"}, {"storage": "ros1", "compression": "zstd"}]
)
def test_unknown_options_are_told(options, folder):
    with pytest.raises(ValueError, match="must be"):
        BagWriter(folder, **options)
    assert not folder.exists()


@pytest.mark.parametrize("storage", SUFFIXES)
def test_a_full_disk_costs_the_open_part_only(storage, folder, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(path):
        raise full

    with BagWriter(folder, storage=storage) as writer:
        write_images(writer, 0)
        writer.checkpoint({"at": 1})
        write_images(writer, 1)
        with monkeypatch.context() as patch:
            patch.setattr(parts.os, "fsync", refuse)
            with pytest.raises(OSError, match=r"run: No space left on device; it keeps"):
                writer.checkpoint({"at": 2})
    assert BagWriter.resumed(folder) == {"at": 1, "complete": False}
    assert not [path for path in folder.iterdir() if path.name.startswith(("run_1", "."))]
    with BagWriter(folder, storage=storage) as writer:
        write_images(writer, 1)
        writer.close({"at": 2})
    progress = json.loads((folder / "ppd_bag.json").read_text())
    assert sum(part["counts"]["/image"] for part in progress["parts"]) == 2


@pytest.mark.parametrize("storage", SUFFIXES)
def test_a_write_that_the_system_refuses_is_told_in_one_sentence(storage, folder):
    large = making.rgb_message(np.zeros((300, 1000, 3), np.uint8), making.make_header(0, "camera"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with BagWriter(folder, storage=storage) as writer:
        write_images(writer, 0)
        writer.checkpoint({"at": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 10**6, limits[1]))
        try:
            with pytest.raises(OSError, match="it keeps all up to its last checkpoint") as failed:
                for _ in range(10):
                    writer.write("/image", START_NS, large)
                writer.checkpoint({"at": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(failed.value)
    names = {path.name for path in folder.iterdir()} - {"metadata.yaml", "ppd_bag.json"}
    assert names == {f"run_0{SUFFIXES[storage]}"}
    assert BagWriter.resumed(folder) == {"at": 1, "complete": False}


def test_a_metadata_file_that_cannot_be_written_is_told(folder):
    with BagWriter(folder) as writer:
        write_images(writer, 0)
        (folder / "metadata.yaml").mkdir()
        with pytest.raises(OSError, match="run: a folder of that name exists; it keeps all"):
            writer.checkpoint({"at": 1})
        with pytest.raises(ValueError, match="must be opened anew"):
            write_images(writer, 1)
    assert BagWriter.resumed(folder) is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to .*run: Not a directory"):
        BagWriter(tmp_path / "file/run")


def test_after_an_interrupted_write_nothing_half_comes_to_a_checkpoint(folder, monkeypatch):
    def interrupt(self, topic, log_ns, data):
        raise KeyboardInterrupt

    with BagWriter(folder) as writer:
        write_images(writer, 0)
        writer.checkpoint({"at": 1})
        monkeypatch.setattr(parts.McapPart, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_images(writer, 1)
        with pytest.raises(ValueError, match="must be opened anew"):
            writer.checkpoint({"at": 2})
    assert BagWriter.resumed(folder) == {"at": 1, "complete": False}
    assert information(folder)["message_count"] == 1


def test_a_checkpoint_that_fails_when_it_is_done_is_one(folder, monkeypatch):
    syncs = []

    def fail_at_the_last(path):
        syncs.append(path)
        if len(syncs) == 3:  # the part, metadata.yaml, the progress
            raise OSError(errno.EIO, "Input/output error")

    with BagWriter(folder) as writer:
        write_images(writer, 0)
        monkeypatch.setattr(bag_folder, "sync", fail_at_the_last)
        with pytest.raises(OSError, match="Input/output error"):
            writer.checkpoint({"at": 1})
    assert BagWriter.resumed(folder) == {"at": 1, "complete": False}
    with BagWriter(folder) as writer:
        write_images(writer, 1)
        writer.close({"at": 2})
    with Reader(folder) as reader:
        assert reader.message_count == 2
