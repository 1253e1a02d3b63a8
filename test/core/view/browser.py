"""A headless Chromium that is told what to do over a pipe, by the DevTools protocol."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import select
import shutil
import subprocess
import time

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root, in a container
    # WebGL without a GPU.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    # The viewer's page asks for fonts and sends statistics: not from a test.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


def find_browser():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class ProtocolError(Exception):
    """Chromium could not do what it was told."""


class Browser:
    """A context manager with one page.

    Args:
        folder: for its profile, which does not exist yet.
        size: width and height of the page in pixels.
        answer_s: how long an answer may take.
    """

    def __init__(self, folder, *, size=(1000, 700), answer_s=60.0):
        self._answer_s = answer_s
        self._numbers = itertools.count(1)
        self._received = b""
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def connect():
            # Chromium reads commands from descriptor 3 and answers on 4.
            kept = os.dup(from_child)
            os.dup2(os.dup(to_child), 3)
            os.dup2(kept, 4)

        window = f"--window-size={size[0]},{size[1]}"
        command = [find_browser(), *FLAGS, window, f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            [*command, "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=connect,
            close_fds=False,
            start_new_session=True,
        )
        os.close(to_child)
        os.close(from_child)

    def __enter__(self):
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        return self

    def __exit__(self, *error):
        os.close(self._out)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._in)

    def open(self, url):
        """Go to a page; returns at once."""
        self._call("Page.navigate", session=self._session, url=url)

    def picture(self):
        """The page now, (H, W, 3) uint8 RGB."""
        from PIL import Image

        deadline_s = time.monotonic() + self._answer_s
        while True:
            try:
                answer = self._call("Page.captureScreenshot", session=self._session, format="png")
                break
            except ProtocolError:  # While a page takes the place of another there is none.
                assert time.monotonic() < deadline_s, "there is no page"
        png = base64.b64decode(answer["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def _call(self, method, *, session=None, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + self._answer_s
        while True:
            answer = self._next(deadline_s)
            if answer.get("id") == number:
                if "error" in answer:
                    raise ProtocolError(answer["error"])
                return answer["result"]

    def _next(self, deadline_s):
        while b"\0" not in self._received:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, "Chromium does not answer"
            if select.select([self._in], [], [], left_s)[0]:
                read = os.read(self._in, 1 << 16)
                assert read, "Chromium has ended"
                self._received += read
        text, _, self._received = self._received.partition(b"\0")
        return json.loads(text)
