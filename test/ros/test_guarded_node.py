"""Callbacks that raise, of every kind that a node has: it lives on."""

from __future__ import annotations

import pytest
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ppd_ros.guarded_node import GuardedNode


@pytest.fixture
def node(world):
    return world.add(
        lambda context: GuardedNode("guarded", context=context, use_global_arguments=False)
    )


def fail(*arguments):
    raise KeyError("what was not there")


async def fail_later(*arguments):
    fail()


def wait_noted(world, node, what):
    world.spin_until(lambda: node.num_callback_errors, "it is counted")
    assert node.callback_error == f"{what} raised KeyError: 'what was not there'"


def test_a_subscription_that_raises(world, node, capfd):
    node.create_subscription(Header, "/topic", fail, 10)
    out = world.client.create_publisher(Header, "/topic", 10)
    world.spin_until(out.get_subscription_count, "it is matched")
    for number in (1, 2):
        out.publish(Header())
        world.spin_until(lambda n=number: node.num_callback_errors == n, "it is counted")
    wait_noted(world, node, "the subscription of /topic")
    said = capfd.readouterr().err
    assert said.count("the subscription of /topic raised; the node goes on") == 1
    assert said.count("Traceback") == 1


def test_a_timer_and_a_guard_condition_that_raise(world, node):
    timer = node.create_timer(0.01, fail)
    wait_noted(world, node, "the timer of fail")
    node.destroy_timer(timer)
    node.num_callback_errors = 0
    node.create_guard_condition(fail).trigger()
    wait_noted(world, node, "fail")


@pytest.mark.parametrize("callback", [fail, fail_later])
def test_a_service_that_raises_answers_all_the_same(world, node, callback):
    node.create_service(Trigger, "/service", callback)
    assert world.answer(world.call("/service")) == (False, "")
    wait_noted(world, node, "the service /service")


def test_an_event_that_raises(world, node):
    class Event:
        callback = staticmethod(fail)

    event = Event()
    node.add_waitable(event)
    node.remove_waitable(event)
    event.callback("incompatible QoS")
    wait_noted(world, node, "the event of fail")
