"""`ppd view --web`: the page that it serves draws what was recorded, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ppd_core.types import Intrinsics
from ppd_core.view import blueprint as at

from .browser import Browser, find_browser
from .conftest import STAMP_NS, Shown, free_ports

pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")
pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120.0
pytestmark = pytest.mark.timeout(400)
WIDTH, HEIGHT = 64, 48
NEAR_M, MIDDLE_M, FAR_M = 1.0, 2.0, 3.0
IMAGE_COLOR = (230, 40, 200)
TURBO_NEAR, TURBO_MIDDLE = (144, 13, 0), (150, 250, 80)
HOLE_COLOR = (84, 86, 92)


@pytest.fixture
def recording(tmp_path):
    """One frame: an image of one colour, and depth in four bands, one of them without any."""
    from ppd_core.bag import making
    from ppd_core.bag.writer import BagWriter

    camera = Intrinsics.from_fov(WIDTH, HEIGHT, 60.0)
    depth = np.empty((HEIGHT, WIDTH), np.float32)
    for band, metres in enumerate((NEAR_M, MIDDLE_M, FAR_M, np.nan)):
        depth[:, band * WIDTH // 4 : (band + 1) * WIDTH // 4] = metres
    folder = tmp_path / "run"
    with BagWriter(folder) as writer:
        header = making.make_header(STAMP_NS, "camera")
        image = np.full((HEIGHT, WIDTH, 3), IMAGE_COLOR, np.uint8)
        writer.write("/camera/camera_info", STAMP_NS, making.info_message(camera, header))
        writer.write("/camera/image", STAMP_NS, making.rgb_message(image, header))
        writer.write("/ppd/depth/image", STAMP_NS, making.depth_message(depth, header))
        writer.close({})
    return folder


@pytest.fixture
def serve(tmp_path):
    """Starts `ppd view WORDS --web`; the process and the page's address, ended with the test."""
    started = []

    def run(*words):
        command = [sys.executable, "-m", "ppd_core.cli", "view", *map(str, words), "--web"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*command, "--port", str(free_ports())],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "said.txt").open("wb"),
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        said = (tmp_path / "said.txt").read_text()
        assert line.startswith("open http://127.0.0.1:"), f"{line}{said}"
        return process, line.split()[1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def share_of(picture, color, tolerance=16):
    """How much of a picture has a colour."""
    off = np.abs(picture.astype(int) - color).max(axis=2)
    return float((off <= tolerance).mean())


@pytest.mark.skipif(find_browser() is None, reason="there is no Chromium: apt install chromium")
def test_the_page_draws_image_depth_and_cloud(recording, serve, tmp_path):
    process, url = serve(recording)
    wanted = {
        "image and cloud": IMAGE_COLOR,
        "near": TURBO_NEAR,
        "between": TURBO_MIDDLE,
        "no depth": HOLE_COLOR,
    }
    deadline_s = time.monotonic() + DEADLINE_S
    shares = dict.fromkeys(wanted, 0.0)
    with Browser(tmp_path / "profile") as browser:
        browser.open(url)
        while min(shares.values()) < 0.005:
            assert time.monotonic() < deadline_s, f"the page shows {shares}"
            picture = browser.picture()
            shares = {name: share_of(picture, color) for name, color in wanted.items()}
        # Image left, cloud right: the colour is in both.
        middle = picture.shape[1] // 2
        while min(share_of(half, IMAGE_COLOR) for half in np.split(picture, [middle], 1)) < 0.005:
            assert time.monotonic() < deadline_s, "there is no cloud"
            picture = browser.picture()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    port = int(re.search(r"127\.0\.0\.1:(\d+)/", url)[1])
    assert not listens(port) and not listens(port + 1)


def test_the_page_is_served_to_this_machine_alone_and_a_file_beside_it(recording, serve, tmp_path):
    path = tmp_path / "shown.rrd"
    process, url = serve(recording, "--save", path)
    port = int(re.search(r"127\.0\.0\.1:(\d+)/", url)[1])
    assert listens(port) and listens(port + 1)
    # All addresses that something listens on, of this machine: none of them is everybody's.
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [row.split()[1] for row in rows if row.split()[3] == "0A"]
    ours = [
        one.split(":")[0] for one in listening if int(one.split(":")[1], 16) in (port, port + 1)
    ]
    assert ours == ["0100007F", "0100007F"]
    six = Path("/proc/net/tcp6")
    rows = six.read_text().splitlines()[1:] if six.exists() else []
    assert not [row for row in rows if int(row.split()[1].split(":")[1], 16) in (port, port + 1)]
    assert process.stdout.readline() == "1 frames shown\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    assert [depth.shape for depth in Shown(path).depths(at.DEPTH)] == [(HEIGHT, WIDTH)]
    assert not listens(port) and not listens(port + 1)
