"""Publishers and subscriptions of the newest message: overridable QoS, mismatches named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)


def subscribe_newest(
    node: Node,
    message_type: type,
    topic: str,
    callback: Callable[[Any], None],
    *,
    depth: int = 1,
) -> Subscription:
    """Subscribe as to a sensor, best effort, keeping `depth` messages for the callback.

    The policies `OVERRIDABLE` become parameters `qos_overrides./full/topic.subscription.*`.
    """
    full_topic = node.resolve_topic_name(topic)

    def warn(event: Any) -> None:
        node.get_logger().warning(
            f"a publisher of {full_topic} offers an incompatible QoS "
            f"({qos_policy_name_from_kind(event.last_policy_kind)}): nothing is received from it; "
            f"set qos_overrides.{full_topic}.subscription.* to fit it"
        )

    return node.create_subscription(
        message_type,
        topic,
        callback,
        _newest(QoSReliabilityPolicy.BEST_EFFORT, depth),
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=warn),
        qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
    )


def publish_newest(node: LifecycleNode, message_type: type, topic: str) -> Publisher:
    """Make a reliable lifecycle publisher that keeps one message.

    The policies `OVERRIDABLE` become parameters `qos_overrides./full/topic.publisher.*`.
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
        qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
    )


def _newest(reliability: QoSReliabilityPolicy, depth: int = 1) -> QoSProfile:
    # A new one each time: rclpy writes the overrides into the profile that it is given.
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=QoSDurabilityPolicy.VOLATILE,
    )
