"""What is written beside the parts of a bag: `metadata.yaml` for ROS 2, `ppd_bag.json` for us."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ppd_core.bag.recording import BagTopic

METADATA_FILE = "metadata.yaml"
PROGRESS_FILE = "ppd_bag.json"
"""Beside metadata.yaml; a folder that has it was written by us."""
METADATA_VERSION = 9
_FORMAT = 1
# Written again with every part; without libyaml that is ten times slower.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NO_TIME_NS = 2**63 - 1
"""Start of a bag without messages, as rosbag2 writes it."""


@dataclass(frozen=True)
class Part:
    """One data file of a bag.

    Attributes:
        name: of the file, in the bag's folder.
        size_bytes: of the file.
        counts: topic -> messages, of the topics that have any.
        begin_ns, end_ns: earliest and latest log time; None without messages.
    """

    name: str
    size_bytes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    begin_ns: int | None = None
    end_ns: int | None = None

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class BagContents:
    """All that is known of a bag up to its last checkpoint.

    Attributes:
        storage: "mcap", "sqlite3" or "ros1".
        name: what the names of the data files begin with.
        state: of whoever writes the bag; None before the first checkpoint.
        is_complete: nothing more is to come.
        topics: in the order of their coming.
        parts: the data files, all of them complete.
    """

    storage: str
    name: str
    state: Mapping[str, Any] | None = None
    is_complete: bool = False
    topics: tuple[BagTopic, ...] = ()
    parts: tuple[Part, ...] = ()

    def to_json(self) -> bytes:
        """Text of the progress file; ValueError for a state that is no JSON."""
        document = {
            "format": _FORMAT,
            "storage": self.storage,
            "name": self.name,
            "complete": self.is_complete,
            "state": self.state,
            "parts": [asdict(part) for part in self.parts],
            "topics": [asdict(topic) | {"qos": qos_maps(topic.qos)} for topic in self.topics],
        }
        try:
            return json.dumps(document, indent=1, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ValueError(f"state must be JSON: {error}") from error


def read_contents(folder: Path) -> BagContents | None:
    """Of a bag that we write or have written; None for any other folder, or none.

    Raises:
        ValueError: the progress file is damaged, or of another version of this package.
    """
    path = folder / PROGRESS_FILE
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise ValueError(f"its format must be {_FORMAT}, got {document['format']}")
        return BagContents(
            storage=document["storage"],
            name=document["name"],
            state=document["state"],
            is_complete=document["complete"],
            topics=tuple(
                BagTopic(**topic | {"qos": parse_qos(topic["qos"])})
                for topic in document["topics"]
            ),
            parts=tuple(Part(**part) for part in document["parts"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def metadata_yaml(contents: BagContents, *, has_root: bool = True) -> str:
    """Text of `metadata.yaml`, version 9.

    Args:
        contents: the bag; its storage must be one of ROS 2.
        has_root: False for the copy that a data file has within itself.

    Source: rosbag2_storage/yaml.hpp.
    """
    parts = contents.parts
    begin_ns, duration_ns = _times(parts)
    information = {
        "version": METADATA_VERSION,
        "storage_identifier": contents.storage,
        "duration": {"nanoseconds": duration_ns},
        "starting_time": {"nanoseconds_since_epoch": begin_ns},
        "message_count": sum(part.count for part in parts),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": qos_maps(topic.qos),
                    "type_description_hash": topic.digest,
                },
                "message_count": sum(part.counts.get(topic.name, 0) for part in parts),
            }
            for topic in contents.topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [part.name for part in parts],
        "files": [_file(part) for part in parts],
        "custom_data": None,
        "ros_distro": "jazzy",
    }
    document = {"rosbag2_bagfile_information": information} if has_root else information
    return to_yaml(document)


def to_yaml(document: Any) -> str:
    """Text of plain values, in their order."""
    return yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)


def _file(part: Part) -> dict[str, Any]:
    begin_ns, duration_ns = _times([part])
    return {
        "path": part.name,
        "starting_time": {"nanoseconds_since_epoch": begin_ns},
        "duration": {"nanoseconds": duration_ns},
        "message_count": part.count,
    }


def _times(parts: Iterable[Part]) -> tuple[int, int]:
    """Earliest log time and duration, nanoseconds."""
    begins_ns = [part.begin_ns for part in parts if part.begin_ns is not None]
    ends_ns = [part.end_ns for part in parts if part.end_ns is not None]
    if not begins_ns:
        return _NO_TIME_NS, 0
    return min(begins_ns), max(ends_ns) - min(begins_ns)


def qos_maps(profiles: Sequence[Any]) -> list[dict[str, Any]]:
    """`rosbags.interfaces.Qos` as `metadata.yaml` holds them."""
    from rosbags.rosbag2.metadata import dump_qos_v9

    dump: Callable[[list[Any]], Iterable[Any]] = dump_qos_v9
    return [dict(profile) for profile in dump(list(profiles))]


def parse_qos(maps: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """The inverse of `qos_maps`."""
    from rosbags.rosbag2.metadata import parse_qos as parse_qos_maps

    parse: Callable[[Any], list[Any]] = parse_qos_maps
    return tuple(parse([dict(one) for one in maps]))


@cache
def default_qos(*, is_latched: bool) -> tuple[Any, ...]:
    """What we say of topics of our own: reliable; those that are sent once stay for who comes
    late."""
    profile = {
        "history": "keep_last",
        "depth": 100 if is_latched else 10,
        "reliability": "reliable",
        "durability": "transient_local" if is_latched else "volatile",
        "deadline": _UNLIMITED,
        "lifespan": _UNLIMITED,
        "liveliness": "automatic",
        "liveliness_lease_duration": _UNLIMITED,
        "avoid_ros_namespace_conventions": False,
    }
    return parse_qos([profile])


_UNLIMITED = {"sec": 9223372036, "nsec": 854775807}
"""As rosbag2 writes it."""
