"""Room for clouds and images in the shared memory of Fast DDS, which ROS 2 uses by default.

Half a megabyte is all that it sends from by default: parts of a cloud of 12 MB are overwritten
before they are read, and with them the small messages of the same frame. At 1024 x 768, reliably,
`benchmarks/node.py` saw 97 % of the outputs and 85 % of the images arrive so, and 100 % and 99 %
with room for a frame in all processes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 128 << 20
"""Free shared memory that the profile is used with: its 32 MB for each of some processes."""
PROFILE = Path(__file__).with_name("fastdds_profile.xml")
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What names a profile to Fast DDS; the second from its version 3 on."""
TRANSPORT_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"


def make_room() -> bool:
    """Have Fast DDS send from 32 MB of shared memory; to be called before `rclpy.init`.

    Returns:
        Whether it will. False where the user has a profile or a choice of transports of his own,
        or where there is not much shared memory, as in a container by default: nothing is
        changed then. With another middleware it makes no difference.
    """
    if any(os.environ.get(name) for name in (*PROFILE_VARIABLES, TRANSPORT_VARIABLE)):
        return False
    try:
        free_bytes = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return False
    if free_bytes < NEEDED_BYTES:
        return False
    for name in PROFILE_VARIABLES:
        os.environ[name] = str(PROFILE)
    return True
