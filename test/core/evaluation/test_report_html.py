from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ppd_core.evaluation.pictures import draw
from ppd_core.evaluation.report_html import Example, Section, as_html
from ppd_core.evaluation.summary import Row
from ppd_core.types import Intrinsics

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
VOID = {"meta", "img", "rect", "path", "br"}


@pytest.fixture(scope="module")
def example() -> Example:
    height, width = 48, 64
    depth = np.full((height, width), 2.0, np.float32)
    depth[12:36, 20:44] = 1.0
    image = np.full((height, width, 3), 128, np.uint8)
    valid_mask = np.ones_like(depth, bool)
    camera = Intrinsics.from_fov(width, height, 60)
    return Example("worst", "a", 0.5, draw(image, depth, valid_mask, depth * 1.1, camera))


@pytest.fixture
def page(rows: list[Row], example: Example) -> str:
    section = Section("simulated <set>", "Simulated.", rows, [[example], []], ["A note."])
    return as_html([section], {"command": "ppd eval --data a<b"})


class Checker(HTMLParser):
    """Finds elements that are not closed, and all that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_beside_it(page: str):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.links and all(link.startswith("data:image/webp;") for link in checker.links)
    assert "script" not in checker.tags
    assert not re.search(r"https?:|@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_page_says_what_was_measured_and_what_failed(page: str):
    for text in (
        "simulated &lt;set&gt;",
        "ppd eval --data a&lt;b",
        "2 of 3 *",
        "1 of 3 images failed: nano by ppd",
        "<code>c&lt;b&gt;</code> cannot read &lt;c&gt;.png: truncated",
        "worst: <code>a</code>, AbsRel 0.5000",
        "A note.",
    ):
        assert text in page, text
    assert "<set>" not in page


def test_nothing_is_the_best_where_images_failed(rows: list[Row]):
    def page_of(rows: list[Row]) -> str:
        return as_html([Section("set", "", rows, [[] for _ in rows])], {})

    assert 'class="best"' not in page_of(rows)
    whole = [Row(row.key, "MIT", row.records[:2]) for row in rows]
    assert re.findall(r'class="best" data-title="AbsRel[^"]*">([\d.]+)', page_of(whole)) == [
        "0.2500"
    ]


def test_a_row_without_any_figure_has_no_histogram_and_a_long_list_is_folded(rows: list[Row]):
    failed = [replace(rows[0].failed[0], name=f"image {index}") for index in range(12)]
    none = Row(rows[0].key, "MIT", failed)
    page = as_html([Section("set", "", [none], [[]])], {})
    assert "<svg" not in page and "images by size of error" not in page
    assert page.count("<li>") == 12 and "<details open>" not in page
    assert "<details open>" in as_html([Section("set", "", rows, [[], []])], {})


def test_without_camera_there_are_no_clouds(rows: list[Row], example: Example):
    depth = np.ones((8, 8), np.float32)
    drawn = draw(np.zeros((8, 8, 3), np.uint8), depth, depth > 0, depth, None)
    assert drawn.truth_side is None
    blind = Example("best", "a", 0.0, drawn)
    page = as_html([Section("set", "", rows[:1], [[blind]])], {})
    assert page.count("<img") == 4 and "cloud of" not in page


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize("width", [400, 800, 1200])
def test_a_browser_without_network_lays_it_out_within_its_width(
    page: str, tmp_path: Path, width: int
):
    # The page forbids scripts; here it comes without that, in a frame, for a window has a least
    # width and a frame none.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    measure = (
        "<script>addEventListener('load', () => { const root = document.documentElement;"
        "const broken = [...document.images].filter(image => !image.naturalWidth).length;"
        "parent.document.title = [root.scrollWidth, innerWidth, broken, document.images.length];"
        "})</script></body>"
    )
    frame = escape(page.replace("</body>", measure))
    file = tmp_path / "report.html"
    style = f"width: {width}px; height: 9000px; border: 0"
    file.write_text(f'<title></title><iframe style="{style}" srcdoc="{frame}"></iframe>')
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>(\d+),(\d+),(\d+),(\d+)</title>", done.stdout)
    assert found is not None, done.stderr
    wide, window, broken, images = map(int, found.groups())
    assert window == width and images == 6
    assert wide <= window and broken == 0
