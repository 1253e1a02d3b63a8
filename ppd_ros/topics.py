"""Publishers and subscriptions of the newest message; QoS that fits, or is said not to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

AUTO = "auto"
FOLLOWED: Mapping[str, Mapping[str, Any]] = {
    "reliability": {
        "reliable": QoSReliabilityPolicy.RELIABLE,
        "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
    },
    "durability": {
        "transient_local": QoSDurabilityPolicy.TRANSIENT_LOCAL,
        "volatile": QoSDurabilityPolicy.VOLATILE,
    },
}
"""Policy of a subscription -> what may be asked for: what all publishers must offer for it to be
asked for, then what is asked for where one does not."""
LOOK_S = 0.5
"""How often an input looks at what the publishers of its topic offer."""

_COMMON = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
_FOLLOWED_KINDS = (QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


class Input:
    """A subscription of the newest messages on a topic.

    It asks for reliable delivery where all publishers offer it, else for best effort as sensors
    do: reliably a large image arrives whole, of which best effort loses many. So it does for what
    was published before it came: of a calibration that is published once, nothing else would ever
    come. What they offer may change at any time, and so does the subscription. The parameters
    `qos_overrides./full/topic.subscription.reliability` and `.durability` decide where they are
    not "auto"; the other policies are rclpy's own `qos_overrides`.

    Args:
        node: subscribes.
        message_type, topic, callback: as of `rclpy.node.Node.create_subscription`.
        depth: how many messages are kept for the callback.
        needs_frame: the messages are of a place: one without a frame_id is told of, once.

    Attributes:
        topic_name: with namespace, remapped.
        message_type: as given.

    Raises:
        RuntimeError, ValueError: a value in qos_overrides is none.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        *,
        depth: int = 1,
        needs_frame: bool = True,
    ) -> None:
        self.topic_name = node.resolve_topic_name(topic)
        self._node = node
        self.message_type = message_type
        self._topic = topic
        self._callback = callback
        self._needs_frame = needs_frame
        self._depth = depth
        self._asked = {name: _asked(node, self.topic_name, name) for name in FOLLOWED}
        self._has_told_of_several = False
        self._subscription = self._subscribe(self._fitting())
        # Steady: publishers come and go while a simulation's clock is paused, too.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK_S, self._look, clock=clock)

    @property
    def is_reliable(self) -> bool:
        """Whether messages are asked for reliably now."""
        return self._qos["reliability"] == QoSReliabilityPolicy.RELIABLE

    def describe_publishers(self) -> str:
        """How many there are, and of what type those that cannot be heard."""
        return describe_publishers(self._node, self.topic_name, self.message_type)

    def close(self) -> None:
        """Stop listening; from the thread that spins."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    def _fitting(self) -> dict[str, Any]:
        """Policy -> what is to be asked for now."""
        offered = [publisher.qos_profile for publisher in self._publishers()]
        fitting = {}
        for name, policies in FOLLOWED.items():
            best, least = policies.values()
            are_all = bool(offered) and all(getattr(one, name) == best for one in offered)
            asked = self._asked[name]
            fitting[name] = (best if are_all else least) if asked == AUTO else policies[asked]
        return fitting

    def _publishers(self) -> list[TopicEndpointInfo]:
        """Those that can be heard."""
        return publishers_of(self._node, self.topic_name, self.message_type)

    def _subscribe(self, qos: dict[str, Any]) -> Subscription:
        self._qos = qos
        return self._node.create_subscription(
            self.message_type,
            self._topic,
            self._take,
            _newest(depth=self._depth, **qos),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
            qos_overriding_options=QoSOverridingOptions(_COMMON),
        )

    def _take(self, message: Any) -> None:
        if self._needs_frame and not message.header.frame_id:
            self._needs_frame = False
            self._node.get_logger().warning(
                f"a message of {self.topic_name} has no frame_id: neither tf nor RViz can tell "
                "where it is, nor what is made of it; set the one of its driver"
            )
        self._callback(message)

    def _look(self) -> None:
        number = len(self._publishers())
        if number > 1 and not self._has_told_of_several:
            self._node.get_logger().warning(
                f"{self.topic_name} has {number} publishers: what they send is mixed"
            )
        self._has_told_of_several = number > 1
        fitting = self._fitting()
        if fitting != self._qos:
            old = self._subscription
            self._subscription = self._subscribe(fitting)
            self._node.destroy_subscription(old)

    def _on_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        if self._asked.get(policy.lower()) == AUTO:
            return  # The next look mends it.
        self._node.get_logger().warning(
            f"a publisher of {self.topic_name} offers an incompatible QoS ({policy}): nothing is "
            f"received from it; set qos_overrides.{self.topic_name}.subscription.* to fit it"
        )


def describe_publishers(node: Node, topic: str, message_type: type) -> str:
    """Who publishes on a topic that is listened to.

    Args:
        node: that listens.
        topic: with namespace, remapped.
        message_type: that is listened for: messages of another are never heard.
    """
    wanted = _type_name(message_type)
    found = [one.topic_type for one in node.get_publishers_info_by_topic(topic)]
    others = sorted(set(found) - {wanted})
    text = f"{len(found)} publishers"
    return f"{text}, of {', '.join(others)} where {wanted} is read" if others else text


def publishers_of(node: Node, topic: str, message_type: type) -> list[TopicEndpointInfo]:
    """Who publishes messages of a type on a topic."""
    found = node.get_publishers_info_by_topic(topic)
    return [one for one in found if one.topic_type == _type_name(message_type)]


def publish_newest(node: LifecycleNode, message_type: type, topic: str) -> Publisher:
    """Make a reliable lifecycle publisher that keeps one message.

    The policies, reliability among them, become parameters
    `qos_overrides./full/topic.publisher.*`.
    """
    full_topic = node.resolve_topic_name(topic)

    def warn(event: Any) -> None:
        node.get_logger().warning(
            f"a subscriber of {full_topic} asks for an incompatible QoS "
            f"({qos_policy_name_from_kind(event.last_policy_kind)}): it receives nothing; "
            f"change it, or set qos_overrides.{full_topic}.publisher.* to fit it"
        )

    return node.create_lifecycle_publisher(
        message_type,
        topic,
        _newest(),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=warn),
        qos_overriding_options=QoSOverridingOptions((*_COMMON, *_FOLLOWED_KINDS)),
    )


def _type_name(message_type: type) -> str:
    """sensor_msgs/msg/Image, as the middleware tells it."""
    package, kind, *_ = message_type.__module__.split(".")
    return f"{package}/{kind}/{message_type.__name__}"


def _asked(node: Node, full_topic: str, policy: str) -> str:
    """What the user asks for of a key of `FOLLOWED`; declares the parameter.

    Raises:
        ValueError: a value that is none.
    """
    name = f"qos_overrides.{full_topic}.subscription.{policy}"
    best, least = FOLLOWED[policy]
    choices = (AUTO, best, least)
    if not node.has_parameter(name):
        text = f"auto: {best} where all publishers of {full_topic} offer it, else {least}."
        descriptor = ParameterDescriptor(description=text, read_only=True)
        descriptor.additional_constraints = f"one of {', '.join(choices)}"
        node.declare_parameter(name, AUTO, descriptor)
    asked = node.get_parameter(name).value
    if asked not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {asked!r}")
    return asked


def _newest(
    *,
    depth: int = 1,
    reliability: QoSReliabilityPolicy = QoSReliabilityPolicy.RELIABLE,
    durability: QoSDurabilityPolicy = QoSDurabilityPolicy.VOLATILE,
) -> QoSProfile:
    # A new one each time: rclpy writes the overrides into the profile that it is given.
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
    )
