"""Messages of ROS 1 as those of ROS 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ppd_core.bag.definitions import types_of

RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}


def ros2_name(msgtype: str) -> str:
    """Turn "sensor_msgs/Image" into "sensor_msgs/msg/Image"."""
    package, _, name = msgtype.rpartition("/")
    package = package.removesuffix("/msg")
    whole = f"{package}/msg/{name}"
    return RENAMED.get(whole, whole)


class Ros1Type:
    """Brings the messages of one type over.

    A type that ROS 2 Jazzy has becomes that one, field by field where they differ; any other
    keeps its own definition, with ROS 2's header in place of ROS 1's.

    Args:
        msgtype: as the bag has it.
        definition: its text.
        md5: of the definition; where a damaged text does not come to it, ROS 1's own is taken if
            that does.

    Attributes:
        msgtype, definition, digest: of the ROS 2 type.

    Raises:
        ValueError: the definition is missing or cannot be read.
    """

    def __init__(self, msgtype: str, definition: str, md5: str = "") -> None:
        from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

        package, _, name = msgtype.rpartition("/")
        ros1_name = f"{package.removesuffix('/msg')}/msg/{name}"
        self.msgtype = ros2_name(msgtype)
        self._ros1_name = ros1_name
        self._from, self._to = get_typestore(Stores.EMPTY), get_typestore(Stores.ROS2_JAZZY)
        try:
            self._from.register(_ros1_types(ros1_name, definition, md5))
            if self.msgtype not in self._to.fielddefs:
                text = self._from.generate_msgdef(ros1_name, ros_version=2)[0]
                types = get_types_from_msg(text, self.msgtype)
                known = self._to.fielddefs
                self._to.register({key: one for key, one in types.items() if key not in known})
            self.definition = self._to.generate_msgdef(self.msgtype, ros_version=2)[0]
            self.digest = self._to.hash_rihs01(self.msgtype)
            self._convert = self._converter()
        except (TypesysError, KeyError, SyntaxError) as error:
            raise ValueError(f"the definition of {msgtype} cannot be read: {error}") from error

    def to_cdr(self, data: bytes) -> bytes:
        """A message.

        Raises:
            ValueError: the bytes do not fit the definition.
        """
        try:
            return bytes(self._convert(data))
        # Generated code, which meets wrong bytes with whatever they bring about.
        except Exception as error:
            raise ValueError(f"a message is no {self._ros1_name}: {error}") from error

    def _converter(self) -> Callable[[bytes], memoryview]:
        from rosbags.convert.converter import is_same_wireformat, migrate_bytes

        if is_same_wireformat(self._from, self._to, self._ros1_name, self.msgtype):
            # The target's own code reads no sequence number: it knows ROS 1's header by name.
            return lambda data: self._to.ros1_to_cdr(data, self.msgtype)
        cache: dict[str, Any] = {}
        return lambda data: migrate_bytes(
            self._from,
            self._to,
            self._ros1_name,
            self.msgtype,
            cache,
            data,
            src_is2=False,
            dst_is2=True,
        )


def _ros1_types(msgtype: str, definition: str, md5: str) -> dict[str, Any]:
    from rosbags.typesys import Stores, TypesysError, get_typestore

    noetic = get_typestore(Stores.ROS1_NOETIC)
    try:
        # std_msgs/Empty has nothing to define; any other needs its text.
        if not definition.strip() and msgtype != "std_msgs/msg/Empty":
            raise ValueError(f"the recording does not bring the definition of {msgtype}")
        types = types_of(msgtype, definition, "ros1msg")
        store = get_typestore(Stores.EMPTY)
        store.register(types)
        if msgtype not in noetic.fielddefs or store.generate_msgdef(msgtype)[1] == md5:
            return types
    except (ValueError, TypesysError, SyntaxError, KeyError):
        if msgtype not in noetic.fielddefs or noetic.generate_msgdef(msgtype)[1] != md5:
            raise
        return noetic.fielddefs
    # It can be read, but is not what was recorded.
    return noetic.fielddefs if noetic.generate_msgdef(msgtype)[1] == md5 else types
