"""The node under test as a process: `python -m node_process JSON [--ros-args ...]`.

It ends by itself when it has measured its frames, and has then written what it measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from node_probes import Probes
from node_stub import RecordedNetworks, recorded_pipeline

from ppd_ros.depth_node import DepthNode
from ppd_ros.process import leave, run_node


def main() -> None:
    """Run; the JSON has `file`, `device`, `network_s`, and what `Probes` is made of."""
    wanted = json.loads(sys.argv[1])
    networks = RecordedNetworks(wanted["network_s"], wanted["device"])
    pipeline = recorded_pipeline(networks)
    probes = Probes(
        wanted["topics"],
        wanted["warm_up"],
        wanted["frames"],
        lambda: networks.spent_s,
        is_timing=wanted["is_timing"],
    )
    probes.install()
    status = run_node(
        lambda is_ending: DepthNode(load_pipeline=lambda settings: pipeline, is_ending=is_ending),
        is_done=probes.is_done,
    )
    if probes.is_done():
        Path(wanted["file"]).write_text(json.dumps(probes.measurements()))
    leave(status)


if __name__ == "__main__":
    main()
