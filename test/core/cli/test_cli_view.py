from __future__ import annotations

import itertools
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ppd_core import DepthPipeline
from ppd_core.cli import main
from ppd_core.cli.view import MAX_POINTS
from ppd_core.cli.view_sources import FOV_DEG
from ppd_core.types import Intrinsics
from ppd_core.view import blueprint as at
from ppd_core.view import sinks, sources, webcam
from ppd_core.view.frame import ViewFrame

ROOT = Path(__file__).parents[3]
WIDTH, HEIGHT = 48, 32
DEADLINE_S = 30.0

View = Callable[..., int]


@pytest.fixture(scope="module")
def tiny() -> DepthPipeline:
    return DepthPipeline.from_pretrained("tiny", device="cpu")


@pytest.fixture
def view(tiny: DepthPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> View:
    """`ppd view WORDS --save shown.rrd`, with the model built once for all tests."""
    pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")
    monkeypatch.setattr(DepthPipeline, "from_pretrained", lambda *args, **options: tiny)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(
        ["view", *words, "--save", "shown.rrd", "--processing-area", "1024", "--steps", "1"]
    )


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def write_photo(path: Path | str) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def write_video(path: str, frames: int) -> None:
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for index in range(frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8))
    writer.release()


def shown() -> dict[str, dict[str, list[object]]]:
    """Entity -> column -> its values, of shown.rrd."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[str, list[object]]] = {}
    for chunk in RrdReader("shown.rrd").stream().to_chunks():
        batch = chunk.to_record_batch()
        columns = found.setdefault(chunk.entity_path.lstrip("/"), {})
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns.setdefault(name, []).extend(v for v in column if v.is_valid)
    return found


def images(entity: str) -> list[np.ndarray]:
    columns = shown()[entity]
    forms = [form.as_py()[0] for form in columns["DepthImage:format"]]
    buffers = [bytes(buffer.as_py()[0]) for buffer in columns["DepthImage:buffer"]]
    return [
        np.frombuffer(buffer, np.float32).reshape(form["height"], form["width"])
        for buffer, form in zip(buffers, forms, strict=True)
    ]


def test_a_photo_is_shown_as_the_model_has_it(
    view: View, tiny: DepthPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo("cat.png")
    assert view("cat.png", "--near", "0.5", "--far", "8") == 0
    from ppd_core import alignment_from_range

    result = tiny(
        photo,
        alignment=alignment_from_range(0.5, 8.0),
        num_steps=1,
        processing_area=1024,
    )
    (depth,) = images(at.DEPTH)
    assert result.metric_depth is not None
    assert depth.tobytes() == result.metric_depth.numpy().tobytes()
    captured = capsys.readouterr()
    assert captured.out == "1 frames shown\n"
    assert "WARNING: model nano is untrained" in captured.err  # the default, here a stand-in
    assert captured.err.count("taken to see 60 degrees from side to side") == 1
    assert at.STAMP not in shown()[at.DEPTH]  # nobody knows when it was taken


def test_an_unknown_camera_has_the_field_of_view_that_is_said(view: View) -> None:
    write_photo("cat.png")
    assert view("cat.png") == 0
    (matrix,) = shown()[at.PINHOLE]["Pinhole:image_from_camera"]
    expected = Intrinsics.from_fov(WIDTH, HEIGHT, FOV_DEG).fx
    assert matrix.as_py()[0][0] == pytest.approx(expected)


def test_a_given_camera_is_taken_and_nothing_is_said(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo("cat.png")
    assert view("cat.png", "--focal-px", "50") == 0
    (matrix,) = shown()[at.PINHOLE]["Pinhole:image_from_camera"]
    assert matrix.as_py()[0][0] == 50
    assert "from side to side" not in capsys.readouterr().err


def test_frames_of_a_video_have_its_time(view: View) -> None:
    write_video("clip.avi", 6)
    assert view("clip.avi", "--every", "2", "--frames", "2") == 0
    depth = shown()[at.DEPTH]
    assert [one.as_py() for one in depth[at.FRAME]] == [0, 1]
    assert [one.value for one in depth[at.STAMP]] == [0, 200_000_000]


def test_a_bad_file_is_told_of_and_the_others_are_shown(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos").mkdir()
    Path("photos/a.png").write_text("no picture")
    write_photo("photos/b.png")
    assert view("photos", "missing.jpg") == 1
    assert len(images(at.DEPTH)) == 1
    said = capsys.readouterr().err
    assert "ppd view: missing.jpg: no such file or folder" in said
    assert "a.png" in said


class FakeCapture:
    """A camera that gives an image when it is told to; `None` is its end."""

    def __init__(self) -> None:
        self.given: list[np.ndarray | None] = []
        self.has_given = threading.Semaphore(0)
        self.num_read = 0
        self.is_released = threading.Event()

    def give(self, *values: int | None) -> None:
        for value in values:
            full = None if value is None else np.full((HEIGHT, WIDTH, 3), value, np.uint8)
            self.given.append(full)
            self.has_given.release()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert self.has_given.acquire(timeout=DEADLINE_S)
        image = self.given[self.num_read]
        self.num_read += 1
        return image is not None, image

    def release(self) -> None:
        self.is_released.set()


def test_the_newest_image_of_a_camera_is_taken_and_the_others_are_counted() -> None:
    capture = FakeCapture()
    with webcam.NewestImage("0", lambda name: capture) as camera:
        capture.give(1, 2, 3)
        deadline_s = time.monotonic() + DEADLINE_S
        while camera.replaced_count < 2:
            assert time.monotonic() < deadline_s
        image, stamp_ns = camera.take()
        assert (image == 3).all()
        capture.give(4)
        later, later_ns = camera.take()
        assert (later == 4).all() and later_ns > stamp_ns
        capture.give(None)
        with pytest.raises(ValueError, match="camera 0 gives no more images"):
            camera.take()
    assert capture.is_released.is_set()


def test_images_of_a_camera_are_rgb() -> None:
    capture = FakeCapture()
    with webcam.NewestImage("0", lambda name: capture) as camera:
        bgr = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        bgr[..., 0] = 9
        capture.given.append(bgr)
        capture.has_given.release()
        image, _ = camera.take()
        assert image[0, 0].tolist() == [0, 0, 9]
        capture.give(None)


def test_a_stream_is_read_by_opencv_until_it_stops(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video("clip.avi", 4)
    assert view("camera:clip.avi") == 1
    assert "ppd view: camera clip.avi gives no more images" in capsys.readouterr().err
    depth = shown()[at.DEPTH]
    assert [one.as_py() for one in depth[at.FRAME]] == list(range(len(depth[at.FRAME])))
    assert depth[at.FRAME]
    assert f"{at.LATENCY}/image_to_depth" in shown()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["camera:77"], "camera 77 cannot be opened: is it there, and free?"),
        (["camera:0", "cat.png"], "camera:0 must be the only source, got camera:0 cat.png"),
        (["missing.mcap"], "missing.mcap does not exist"),
        (["missing.png"], "no input found"),
        (["cat.png", "--points", "0"], "--points must be >= 1, got 0"),
        (["cat.png", "--frames", "0"], "--frames must be >= 1, got 0"),
        (["cat.png", "--memory", "much"], "memory must be like 1GiB, 500MB or 25%, got 'much'"),
        (["cat.png", "--port", "65535"], "port must be in 1 .. 65534, got 65535"),
        (["cat.png", "--web", "--native"], "--web and --native cannot both be, got both"),
        (["cat.png", "--native"], "a window needs a display, got none"),
        (["cat.png", "--near", "1"], "--near and --far must be given together, got one of them"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    view: View,
    no_display: None,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    reason: str,
) -> None:
    write_photo("cat.png")
    assert view(*words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("ppd view: ") and reason in last


def test_a_file_of_another_kind_is_not_overwritten(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo("cat.png")
    before = Path("cat.png").read_bytes()
    assert main(["view", "cat.png", "--save", "cat.png", "--processing-area", "1024"]) == 2
    assert "a file to save to must end in .rrd, got cat.png" in capsys.readouterr().err
    assert Path("cat.png").read_bytes() == before


def test_without_rerun_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    assert main(["view", "cat.png"]) == 2
    said = "ppd view: the viewer is not installed: pip install 'ppd_ros[view]'\n"
    assert capsys.readouterr().err == said


def test_without_ros_one_sentence_says_what_topics_need(
    view: View, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "entry_points", lambda **which: [])
    assert view("topics") == 2
    assert "live topics need ROS 2 and the package ppd_ros" in capsys.readouterr().err


def test_an_installed_package_brings_a_source(
    view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "robot-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: robot\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{sources.GROUP}]\nrobot = robot:frames\n")
    (tmp_path / "robot.py").write_text(
        "from ppd_core.view.frame import ViewFrame\n"
        "def frames(words, world_frame):\n"
        "    for index, word in enumerate(words):\n"
        "        yield ViewFrame(index, notes=(word + world_frame,))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["view", "robot", "--save", "shown.rrd", "--world-frame", "!"]
    assert main([*words, "--ros-args", "one", "-r", "two"]) == 0
    texts = [text.as_py() for text in shown()[at.LOG]["TextLog:text"]]
    assert texts == [["one!"], ["-r!"], ["two!"]]


def test_a_source_that_lacks_a_library_is_one_sentence(
    view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = tmp_path / "robot-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: robot\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{sources.GROUP}]\nlame = not_there:frames\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert view("lame") == 2
    assert "the source lame cannot be used here: No module" in capsys.readouterr().err


def test_the_end_of_frames_that_come_in_parts_is_before_the_next_depth() -> None:
    from ppd_core.cli.view import _first

    def parts():
        depth = np.ones((2, 2), np.float32)
        for index in itertools.count():
            yield ViewFrame(index, depth=depth)
            yield ViewFrame(index, points=np.ones((1, 3), np.float32))

    assert [frame.index for frame in _first(parts(), 2)] == [0, 0, 1, 1]


def test_a_page_s_port_that_is_taken_is_told_of(
    view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo("cat.png")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert view("cat.png", "--web", "--port", str(port)) == 2
    said = capsys.readouterr().err
    assert f"ppd view: port {port} is taken: give another with --port" in said


def test_a_viewer_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Rerun's own program, told what it cannot do."""
    pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")
    viewer = sinks._Viewer(["--bind", "no address"], is_window=False)
    with pytest.raises(ValueError, match=r"the viewer did not start: .*no address"):
        viewer.wait_listening("127.0.0.1", 1)
    viewer.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1GiB", 2**30), ("500MB", 500_000_000), ("1.5 kB", 1500), ("25%", None)],
)
def test_memory_is_read_as_rerun_reads_it(text: str, expected: int | None) -> None:
    assert sinks.SinkSettings(is_web=True, memory=text).memory_bytes == expected


def test_the_page_on_it_knows_the_options_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "--help"]) == 0
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    page = (ROOT / "docs" / "view.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?<!-)--[a-z][a-z-]+", page)) <= known
    settings = sinks.SinkSettings(is_web=True)
    for told in (f"`--port` ({settings.port})", f"({MAX_POINTS:,} by default)"):
        assert told in page
    assert f"{FOV_DEG:g} degrees from side to side" in page
    assert settings.memory == "1GiB" and "keeps 1 GiB, or what `--memory` says" in page


def test_help_needs_no_viewer_and_tells_of_the_sources() -> None:
    code = (
        "import sys; from ppd_core.cli import main; main(['view', '--help'])\n"
        "print([name for name in ('rerun', 'cv2', 'rclpy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for word in ("camera:0", "topics", ".mcap", "exit status"):
        assert word in done.stdout
