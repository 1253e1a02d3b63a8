from __future__ import annotations

import logging
from types import SimpleNamespace

from ppd_ros.core_log import CoreLog


def test_what_the_core_warns_of_is_in_the_nodes_log_until_it_is_closed():
    said: list[tuple[str, str]] = []
    log = SimpleNamespace(
        warning=lambda text: said.append(("warning", text)),
        error=lambda text: said.append(("error", text)),
    )
    of_core, of_others = logging.getLogger("ppd_core.loading"), logging.getLogger("urllib3")
    passed_on = CoreLog(log)
    of_core.warning("%s is slow", "it")
    of_core.error("it is wrong")
    of_core.info("it is")
    of_others.warning("somebody else's")
    passed_on.close()
    of_core.warning("too late")
    assert said == [("warning", "it is slow"), ("error", "it is wrong")]
