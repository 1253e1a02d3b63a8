"""The examples, each run as a user runs it: its command line, real files, the packaged model."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import runpy
import sys
import tokenize
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from ppd_core import Intrinsics, read_depth_png16, read_image, read_ply, write_ply
from ppd_core.data.motorcycle import load_motorcycle
from ppd_core.geometry.camera import ray_table

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
needs_motorcycle = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the pair comes with scikit-image"
)


class Done(NamedTuple):
    """What a run of an example left."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """An example with its arguments, in the test's folder.

    In this process: each of its own would import torch for seconds.
    """
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object) -> Done:
        path = str(ROOT / "examples" / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        capsys.readouterr()
        end: str | int | None = None
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            end = stop.code
        except Exception:  # ends a process with its traceback
            traceback.print_exc()
            end = 1
        out, err = capsys.readouterr()
        # As the interpreter does: a sentence goes to stderr, and is status 1.
        return Done(1, out, f"{err}{end}") if isinstance(end, str) else Done(end or 0, out, err)

    return run


def said(done: Done) -> str:
    assert done.status == 0, done.stderr
    return done.stdout


def save_photo(path: Path, height: int = 48, width: int = 64) -> None:
    """A bright square on a dark ramp."""
    photo = np.zeros((height, width, 3), np.uint8) + np.arange(width, dtype=np.uint8)[:, None]
    photo[height // 3 : -height // 3, width // 3 : -width // 3] = 230
    assert cv2.imwrite(str(path), photo)


def code_lines(path: Path) -> int:
    """Lines that are not empty, a comment, or of the module's docstring."""
    source = path.read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0]
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    assert docstring.end_lineno is not None
    return len(lines - set(range(1, docstring.end_lineno + 1)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    assert 10 <= code_lines(path) <= 30
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    assert f"\n    .venv/bin/python examples/{path.name}" in docstring


def test_help_shows_the_command_on_its_own_line(tmp_path: Path, run: Callable[..., Done]) -> None:
    output = said(run("one_photo.py", "--help"))
    assert "\n    .venv/bin/python examples/one_photo.py photo.jpg\n" in output


def test_the_list_of_examples_names_each_of_them() -> None:
    listed = re.findall(r"\]\((\w+\.py)\)", (ROOT / "examples/README.md").read_text("utf-8"))
    assert sorted(listed) == [path.name for path in EXAMPLES]
    assert "](examples/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_one_photo_writes_depth_to_look_at_and_to_work_with(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    save_photo(tmp_path / "photo.png")
    assert "photo_depth.png: (48, 64)" in said(run("one_photo.py", "photo.png"))
    depth = np.load(tmp_path / "photo_depth.npy")
    assert (depth.shape, depth.dtype) == ((48, 64), np.float32)
    assert np.isfinite(depth).all()
    assert np.ptp(depth) > 0.01
    preview = read_image(tmp_path / "photo_depth.png")
    nearest, farthest = (preview[depth == depth.max()], preview[depth == depth.min()])[::-1]
    assert nearest[0, 0] > nearest[0, 2]  # red
    assert farthest[0, 2] > farthest[0, 0]  # blue


def test_one_photo_ends_with_a_sentence_where_there_is_none(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    done = run("one_photo.py", "missing.jpg")
    assert done.status == 1
    assert done.stderr.rstrip().endswith("cannot read missing.jpg: No such file or directory")


def test_folder_to_ply_takes_every_photo_and_goes_on_after_a_broken_one(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    save_photo(photos / "a.png")
    save_photo(photos / "a.jpg", 40, 40)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    options = ("--fov-deg", 90, "--near-m", 1, "--far-m", 3)
    output = said(run("folder_to_ply.py", "photos", "clouds/new", *options))
    assert "a.png: 3072 points" in output
    assert "left out: photos/broken.jpg" in output
    clouds = tmp_path / "clouds" / "new"
    assert sorted(path.name for path in clouds.iterdir()) == ["a.jpg.ply", "a.png.ply"]
    points, colors = read_ply(clouds / "a.png.ply")
    assert colors is not None
    assert np.ptp(colors) > 100
    # Relative depth is about 0 to 1, which is 1 m to 3 m; and 90 degrees wide is |x| <= z.
    assert 0.5 < points[:, 2].min() < points[:, 2].max() < 6
    slope = points[:, 0] / points[:, 2]
    assert slope.min() == pytest.approx(-63 / 64, abs=1e-3)
    assert slope.max() == pytest.approx(63 / 64, abs=1e-3)


@needs_motorcycle
def test_refine_rgbd_keeps_the_sensor_s_metres_and_fills_its_holes(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    scene = load_motorcycle()
    millimetres = np.nan_to_num(scene.sensor_depth * 1000).round().astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / "depth.png"), millimetres)
    assert cv2.imwrite(str(tmp_path / "color.png"), scene.image[..., ::-1])
    fov_deg = 2 * np.degrees(np.arctan(scene.intrinsics.width / 2 / scene.intrinsics.fx))
    arguments = ("color.png", "depth.png", "--fov-deg", fov_deg)
    output = said(run("refine_rgbd.py", *arguments))
    is_hole = millimetres == 0
    share = f"{is_hole.mean():.1%}"
    assert f"{share} of the pixels were holes, {share} have depth now" in output
    assert re.match(r"scale \d\.\d{3}, \d+% inliers, RMSE 0\.\d{3} m\n", output)

    refined = read_depth_png16(tmp_path / "depth_refined.png")
    assert np.isfinite(refined).all()
    change_m = np.abs(refined - scene.sensor_depth)[~is_hole]
    assert np.median(change_m) < 0.02
    error = np.abs(refined / scene.truth - 1)
    assert np.nanmedian(error) < 0.02
    assert np.nanmedian(error[is_hole]) < 0.1
    points, colors = read_ply(tmp_path / "depth_refined.ply")
    np.testing.assert_allclose(points[:, 2], refined.ravel(), atol=6e-4)
    assert np.array_equal(colors, scene.image.reshape(-1, 3))


@pytest.mark.parametrize("kind", ["blind", "coloured", "other size"])
def test_refine_rgbd_says_why_there_are_no_metres(
    tmp_path: Path, run: Callable[..., Done], kind: str
) -> None:
    save_photo(tmp_path / "color.png")
    depths = {
        "blind": (np.zeros((48, 64), np.uint16), "no metres: too few metric samples"),
        "coloured": (np.full((48, 64, 3), 90, np.uint8), "if it shows depth in colours"),
        "other size": (np.full((24, 32), 900, np.uint16), "size (48, 64), got (24, 32): see"),
    }
    depth, words = depths[kind]
    assert cv2.imwrite(str(tmp_path / "depth.png"), depth)
    done = run("refine_rgbd.py", "color.png", "depth.png")
    assert done.status == 1
    assert words in done.stderr
    assert not list(tmp_path.glob("*refined*"))


# Half sizes and place of boxes on a table in metres, z up, and how they are turned.
BOXES = {
    "thin": ((0.025, 0.06, 0.04), (-0.2, 0.02), 30.0),
    "flat": ((0.07, 0.035, 0.025), (0.17, 0.1), -20.0),
    "too wide": ((0.06, 0.06, 0.02), (0.0, 0.25), 10.0),
}
CYLINDER_RADIUS_M, CYLINDER_HEIGHT_M, CYLINDER_PLACE = 0.03, 0.1, (0.02, -0.08)
CAMERA_PLACE = np.array([0.05, -0.6, 0.65])
CAMERA_DOWN_DEG = 45.0


def camera_axes() -> np.ndarray:
    """Rows: the camera's right, down and forward on the table."""
    sine, cosine = np.sin(np.radians(CAMERA_DOWN_DEG)), np.cos(np.radians(CAMERA_DOWN_DEG))
    return np.array([[1, 0, 0], [0, -sine, -cosine], [0, cosine, -sine]])


def turned(yaw_deg: float) -> np.ndarray:
    """Rows: a box's axes on the table."""
    sine, cosine = np.sin(np.radians(yaw_deg)), np.cos(np.radians(yaw_deg))
    return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def hit_box(rays: np.ndarray, half: tuple[float, ...], at: tuple[float, ...], yaw_deg: float):
    """(H, W): how far along each ray the box begins; infinite where it is missed."""
    eye = turned(yaw_deg) @ (CAMERA_PLACE - [*at, half[2]])
    rays = rays @ turned(yaw_deg).T
    with np.errstate(divide="ignore"):
        ends = np.sort([(-np.array(half) - eye) / rays, (np.array(half) - eye) / rays], axis=0)
    entry, leave = ends[0].max(axis=-1), ends[1].min(axis=-1)
    return np.where(entry < leave, entry, np.inf)


def hit_cylinder(rays: np.ndarray) -> np.ndarray:
    """The same for the cylinder: its side, or its lid."""
    eye = CAMERA_PLACE - [*CYLINDER_PLACE, 0]
    a = (rays[..., :2] ** 2).sum(-1)
    b = rays[..., :2] @ eye[:2]
    root = np.sqrt(np.maximum(b**2 - a * (eye[:2] @ eye[:2] - CYLINDER_RADIUS_M**2), 0))
    side, lid = (-b - root) / a, (CYLINDER_HEIGHT_M - eye[2]) / rays[..., 2]
    is_side = (root > 0) & (np.abs(eye[2] + side * rays[..., 2] - 0.05) < 0.05)
    is_lid = np.linalg.norm(eye[:2] + lid[..., None] * rays[..., :2], axis=-1) < CYLINDER_RADIUS_M
    return np.minimum(np.where(is_side, side, np.inf), np.where(is_lid, lid, np.inf))


def table_scene() -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of a table, three boxes and a cylinder: (H, W, 3) points and colours."""
    directions = ray_table(Intrinsics.from_fov(480, 360, 60)).numpy().astype(np.float64)
    rays = directions @ camera_axes()
    hits = [-CAMERA_PLACE[2] / rays[..., 2], *(hit_box(rays, *box) for box in BOXES.values())]
    hits.append(hit_cylinder(rays))
    palette = np.array(
        [[170, 150, 130], [200, 80, 60], [60, 110, 200], [220, 180, 60], [120, 80, 160]], np.uint8
    )
    points = np.min(hits, axis=0)[..., None] * directions
    return points.astype(np.float32), palette[np.argmin(hits, axis=0)]


def candidates(output: str) -> np.ndarray:
    """(N, 10): centre, approach, closing axis, opening."""
    rows = [re.findall(r"-?\d*\.\d*", line) for line in output.splitlines()]
    return np.array(rows, np.float64)


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def test_grasps_are_found_where_the_objects_are(tmp_path: Path, run: Callable[..., Done]) -> None:
    points, colors = table_scene()
    # A wall behind the table, larger than it, out of reach; and a few points that are nothing.
    rng = np.random.default_rng(0)
    wall = rng.uniform([-3, -3, 2.5], [3, 3, 2.5], (len(points) * 600, 3)).astype(np.float32)
    strays = rng.uniform([-0.3, -0.3, 0.4], [0.3, 0, 0.6], (15, 3)).astype(np.float32)
    others = np.concatenate([wall, strays])
    cloud = np.concatenate([points.reshape(-1, 3), others])
    shades = np.concatenate([colors.reshape(-1, 3), np.full(others.shape, 90, np.uint8)])
    write_ply(tmp_path / "cloud.ply", cloud, shades)
    found = candidates(said(run("grasp_candidates.py", "cloud.ply")))
    assert found.shape == (3, 10)

    upright = (0.0, 0.0, 1.0)
    expected = [
        ([*place, half[2]], turned(yaw_deg)[int(half[1] < half[0])], 2 * min(half[:2]))
        for half, place, yaw_deg in (BOXES["thin"], BOXES["flat"])
    ]
    expected.append(([*CYLINDER_PLACE, CYLINDER_HEIGHT_M / 2], None, 2 * CYLINDER_RADIUS_M))
    for place, axis, width in expected:
        centre = camera_axes() @ (np.array(place) - CAMERA_PLACE)
        one = found[np.linalg.norm(found[:, :3] - centre, axis=1).argmin()]
        assert np.linalg.norm(one[:3] - centre) < 0.005
        assert one[9] == pytest.approx(width, abs=0.005)
        assert degrees_between(one[3:6], -camera_axes() @ upright) < 1
        if axis is None:  # a cylinder may be taken from any side
            assert abs(degrees_between(one[6:9], camera_axes() @ upright) - 90) < 1
        else:
            angle = degrees_between(one[6:9], camera_axes() @ axis)
            assert min(angle, 180 - angle) < 5
    assert (read_image(tmp_path / "cloud.ply.png") == [0, 200, 0]).all(axis=-1).sum() > 100


def test_a_trail_of_flying_pixels_does_not_make_one_object_of_two(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    points, colors = table_scene()
    ends = np.array([[*CYLINDER_PLACE, 0.05], [*BOXES["thin"][1], 0.05]])
    trail = (np.linspace(*ends, 70) - CAMERA_PLACE) @ camera_axes().T
    cloud = np.concatenate([points.reshape(-1, 3), trail.astype(np.float32)])
    shades = np.concatenate([colors.reshape(-1, 3), np.zeros((70, 3), np.uint8)])
    write_ply(tmp_path / "cloud.ply", cloud, shades)
    found = candidates(said(run("grasp_candidates.py", "cloud.ply")))
    assert found.shape == (3, 10)


def test_a_smaller_gripper_takes_less_and_a_bare_table_offers_nothing(
    tmp_path: Path, run: Callable[..., Done]
) -> None:
    points, colors = table_scene()
    write_ply(tmp_path / "cloud.ply", points, colors)
    small = run("grasp_candidates.py", "cloud.ply", "--opening-m", 0.055)
    assert [round(row[9], 2) for row in candidates(said(small))] == [0.05]
    is_table = (colors == [170, 150, 130]).all(axis=-1)
    write_ply(tmp_path / "bare.ply", points[is_table], colors[is_table])
    assert said(run("grasp_candidates.py", "bare.ply")) == ""
