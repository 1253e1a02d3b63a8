from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from ppd_core.bag.recording import BagTopic
from ppd_core.bag.typestore import (
    ALIGNMENT_DEFINITION,
    ALIGNMENT_TYPE,
    complete_topic,
    typestore,
)

MESSAGE_FILE = Path(__file__).parents[3] / "msg/Alignment.msg"


def test_the_alignment_is_that_of_the_message_file():
    lines = [line.partition("#")[0].rstrip() for line in MESSAGE_FILE.read_text().splitlines()]
    assert list(filter(None, lines)) == ALIGNMENT_DEFINITION.splitlines()


def test_a_store_knows_the_alignment_and_its_states():
    alignment = typestore().types[ALIGNMENT_TYPE]
    assert alignment.STATE_LOST == "lost"


def test_what_is_registered_in_one_store_is_not_in_the_next():
    store = typestore()
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", definition="float64 x\n", format="ros2msg")
    assert complete_topic(topic, store) == topic
    assert store.types["odd_msgs/msg/Odd"](x=1.0).x == 1.0
    assert "odd_msgs/msg/Odd" not in typestore().types


def test_a_topic_of_a_known_type_gets_its_definition():
    topic = complete_topic(BagTopic("/header", "std_msgs/msg/Header"), typestore())
    assert topic.definition.startswith("builtin_interfaces/Time stamp\nstring frame_id\n")
    assert topic.format == "ros2msg"
    assert topic.digest.startswith("RIHS01_")


@pytest.mark.parametrize(("definition", "kind"), [("", ""), ("this is no type", "ros2msg")])
def test_what_nobody_knows_stays_as_it_is(definition, kind):
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", definition=definition, format=kind)
    assert complete_topic(topic, typestore()) == topic


def test_a_type_told_in_idl_as_rosbag2_joins_it_is_registered():
    line = "=" * 80 + "\n"
    parts = {
        "odd_msgs/msg/Odd": "module odd_msgs { module msg { struct Odd { odd_msgs::msg::In x; }; "
        "}; };\n",
        "odd_msgs/msg/In": "module odd_msgs { module msg { struct In { double y; }; }; };\n",
    }
    definition = "".join(f"{line}IDL: {name}\n{text}" for name, text in parts.items())
    topic = BagTopic("/odd", "odd_msgs/msg/Odd", definition=definition, format="ros2idl")
    store = typestore()
    assert complete_topic(topic, store) == topic
    inner = store.types["odd_msgs/msg/In"](y=1.0)
    assert store.types["odd_msgs/msg/Odd"](x=inner).x.y == 1.0
