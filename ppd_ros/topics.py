"""Publishers and subscriptions of the newest message; QoS that fits, or is said not to."""

from __future__ import annotations

from collections.abc import Callable
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

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

AUTO = "auto"
RELIABILITIES = {
    "reliable": QoSReliabilityPolicy.RELIABLE,
    "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
}
LOOK_S = 0.5
"""How often an input looks at what the publishers of its topic offer."""

_COMMON = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY)


class Input:
    """A subscription of the newest messages on a topic.

    It asks for reliable delivery where all publishers offer it, else for best effort as sensors
    do: reliably a large image arrives whole, of which best effort loses many. What they offer may
    change at any time, and so does the subscription. The parameter
    `qos_overrides./full/topic.subscription.reliability` decides where it is not "auto"; the other
    policies are rclpy's own `qos_overrides`.

    Args:
        node: subscribes.
        message_type, topic, callback: as of `rclpy.node.Node.create_subscription`.
        depth: how many messages are kept for the callback.

    Attributes:
        topic_name: with namespace, remapped.

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
    ) -> None:
        self.topic_name = node.resolve_topic_name(topic)
        self._node = node
        self._arguments = message_type, topic, callback
        self._depth = depth
        self._asked = _asked_reliability(node, self.topic_name)
        self._has_told_of_several = False
        self._subscription = self._subscribe(self._fitting())
        # Steady: publishers come and go while a simulation's clock is paused, too.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK_S, self._look, clock=clock)

    @property
    def is_reliable(self) -> bool:
        """Whether messages are asked for reliably now."""
        return self._reliability == QoSReliabilityPolicy.RELIABLE

    def close(self) -> None:
        """Stop listening; from the thread that spins."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    def _fitting(self) -> QoSReliabilityPolicy:
        if self._asked != AUTO:
            return RELIABILITIES[self._asked]
        offered = self._offered()
        is_reliable = bool(offered) and all(
            policy == QoSReliabilityPolicy.RELIABLE for policy in offered
        )
        return RELIABILITIES["reliable" if is_reliable else "best_effort"]

    def _offered(self) -> list[QoSReliabilityPolicy]:
        publishers = self._node.get_publishers_info_by_topic(self.topic_name)
        return [publisher.qos_profile.reliability for publisher in publishers]

    def _subscribe(self, reliability: QoSReliabilityPolicy) -> Subscription:
        self._reliability = reliability
        message_type, topic, callback = self._arguments
        return self._node.create_subscription(
            message_type,
            topic,
            callback,
            _newest(reliability, self._depth),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
            qos_overriding_options=QoSOverridingOptions(_COMMON),
        )

    def _look(self) -> None:
        number = len(self._offered())
        if number > 1 and not self._has_told_of_several:
            self._node.get_logger().warning(
                f"{self.topic_name} has {number} publishers: what they send is mixed"
            )
        self._has_told_of_several = number > 1
        fitting = self._fitting()
        if fitting != self._reliability:
            old = self._subscription
            self._subscription = self._subscribe(fitting)
            self._node.destroy_subscription(old)

    def _on_incompatible(self, event: Any) -> None:
        is_reliability = event.last_policy_kind == QoSPolicyKind.RELIABILITY
        if is_reliability and self._asked == AUTO:
            return  # The next look mends it.
        self._node.get_logger().warning(
            f"a publisher of {self.topic_name} offers an incompatible QoS "
            f"({qos_policy_name_from_kind(event.last_policy_kind)}): nothing is received from it; "
            f"set qos_overrides.{self.topic_name}.subscription.* to fit it"
        )


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
        _newest(QoSReliabilityPolicy.RELIABLE),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=warn),
        qos_overriding_options=QoSOverridingOptions((*_COMMON, QoSPolicyKind.RELIABILITY)),
    )


def _asked_reliability(node: Node, full_topic: str) -> str:
    """What the user asks for; declares the parameter.

    Raises:
        ValueError: a value that is none.
    """
    name = f"qos_overrides.{full_topic}.subscription.reliability"
    choices = (AUTO, *RELIABILITIES)
    if not node.has_parameter(name):
        text = f"auto: reliable where all publishers of {full_topic} offer it, else best effort."
        descriptor = ParameterDescriptor(description=text, read_only=True)
        descriptor.additional_constraints = f"one of {', '.join(choices)}"
        node.declare_parameter(name, AUTO, descriptor)
    asked = node.get_parameter(name).value
    if asked not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {asked!r}")
    return asked


def _newest(reliability: QoSReliabilityPolicy, depth: int = 1) -> QoSProfile:
    # A new one each time: rclpy writes the overrides into the profile that it is given.
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=QoSDurabilityPolicy.VOLATILE,
    )
