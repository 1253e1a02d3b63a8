from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
from ppd_ros.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def frame():
    clouds = [bytearray(b"1") * 12_600_000 for _ in range(4)]
frame()
before = faults()
for _ in range(5):
    frame()
print(faults() - before)
"""


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def test_the_next_frame_finds_its_memory_in_place():
    # Of the process, so in one of its own. 4 x 12.6 MB are 12,300 pages of 4 KiB a frame.
    assert page_faults("kept") * 10 <= page_faults("default")
