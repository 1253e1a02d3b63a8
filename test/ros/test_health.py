from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from ppd_core.status_report import ERROR, OK, STALE, WARN, StatusReport
from ppd_ros.health import status_message


def test_the_message_of_a_report():
    report = StatusReport("ppd: frames", WARN, "no image comes", {"rate": "0.5", "a": "b"}, "cpu")
    message = status_message(report)
    assert (message.name, message.message) == ("ppd: frames", "no image comes")
    assert message.hardware_id == "cpu"
    assert [(pair.key, pair.value) for pair in message.values] == [("rate", "0.5"), ("a", "b")]


def test_levels_are_those_of_the_message():
    levels = [status_message(StatusReport("", level, "")).level for level in range(4)]
    kind = DiagnosticStatus
    assert levels == [kind.OK, kind.WARN, kind.ERROR, kind.STALE]
    assert (OK, WARN, ERROR, STALE) == (0, 1, 2, 3)


def test_health_is_published_in_every_state(world, monkeypatch):
    monkeypatch.setattr("ppd_ros.health.PERIOD_S", 0.05)
    received = world.subscribe(DiagnosticArray, "/diagnostics")
    node = world.depth_node(autostart=False)

    def messages():
        statuses = received[-1].status if received else []
        return {status.name: status.message for status in statuses}

    for transition, words in [
        (None, "not working: unconfigured"),
        (node.trigger_configure, "not working: inactive"),
        (node.trigger_activate, "working"),
        (node.trigger_deactivate, "not working: inactive"),
    ]:
        if transition is not None:
            transition()
        world.spin_until(lambda words=words: messages().get("ppd: frames") == words, words)
    assert set(messages()) == {"ppd: frames", "ppd: alignment"}
    assert node.count_publishers("/diagnostics") == 1


def test_health_tells_why_the_node_is_not_configured(world, monkeypatch):
    monkeypatch.setattr("ppd_ros.health.PERIOD_S", 0.05)

    def load(settings):
        raise ValueError("no such file")

    received = world.subscribe(DiagnosticArray, "/diagnostics")
    world.depth_node(load_pipeline=load)
    world.spin_until(
        lambda: (
            received
            and received[-1].status[0].level == DiagnosticStatus.ERROR
            and received[-1].status[0].message == "cannot configure: no such file"
        ),
        "the reason in /diagnostics",
    )
