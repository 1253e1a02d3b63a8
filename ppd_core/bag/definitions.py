"""Types of a recording from their definitions."""

from __future__ import annotations

from typing import Any

from ppd_core.bag.recording import BagTopic


def types_of(msgtype: str, definition: str, form: str) -> dict[str, Any]:
    """All types that a definition tells, in rosbags' notation.

    Raises:
        ValueError: it cannot be read, or does not tell the type itself.
    """
    from rosbags.typesys import TypesysError, get_types_from_idl, get_types_from_msg

    types: dict[str, Any] = {}
    try:
        if form == "ros2idl":
            for one in _idl_parts(definition):
                types.update(get_types_from_idl(one))
        else:
            types.update(get_types_from_msg(definition, msgtype))
    except (TypesysError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(_unreadable(msgtype, error)) from error
    if msgtype not in types:
        raise ValueError(f"the definition of {msgtype} tells of {', '.join(types) or 'nothing'}")
    return types


def _unreadable(msgtype: str, error: Exception) -> str:
    """One line: the parser's own words go on with the text from there on."""
    begin = (str(error).splitlines() or [""])[0]
    return f"the definition of {msgtype} cannot be read: {begin[:200]}"


def _idl_parts(definition: str) -> list[str]:
    """Texts of IDL, which rosbag2 joins with a line of 80 "=" and one that names the next."""
    line = "=" * 80 + "\n"
    if not definition.startswith(f"{line}IDL: "):
        return [definition]
    return [one.partition("\n")[2] for one in definition.split(line)[1:]]


def store_of(msgtype: str, definition: str, form: str) -> Any:
    """A `rosbags` typestore that knows a type: of its own definition, else of ROS 2 Humble.

    Recordings of rosbag2 before Iron do not bring definitions.

    Raises:
        ValueError: there is no definition, or it cannot be read.
    """
    from rosbags.typesys import Stores, TypesysError, get_typestore

    if not definition:
        store = get_typestore(Stores.ROS2_HUMBLE)
        if msgtype not in store.fielddefs:
            raise ValueError(f"the recording does not bring the definition of {msgtype}")
        return store
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(types_of(msgtype, definition, form))
        store.get_msgdef(msgtype)
    except (TypesysError, KeyError, SyntaxError) as error:
        raise ValueError(_unreadable(msgtype, error)) from error
    return store


class Types:
    """Makes objects of messages; a type is prepared once."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str], Any] = {}

    def deserialize(self, topic: BagTopic, data: bytes) -> Any:
        """The message as `rosbags` gives it.

        Raises:
            ValueError: there is no definition of its type, or the bytes do not fit it.
        """
        key = topic.msgtype, topic.definition
        if key not in self._stores:
            self._stores[key] = store_of(topic.msgtype, topic.definition, topic.format)
        try:
            return self._stores[key].deserialize_cdr(data, topic.msgtype)
        # Generated code, which meets wrong bytes with whatever they bring about.
        except Exception as error:
            raise ValueError(
                f"a message of {topic.name} is no {topic.msgtype}: {error}"
            ) from error
