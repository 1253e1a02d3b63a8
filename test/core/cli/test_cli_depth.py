from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ppd_core import DepthPipeline, WeightsError
from ppd_core.cli import main
from ppd_core.cli.model_options import DTYPE_NAMES
from ppd_core.device import DTYPES

WIDTH, HEIGHT = 48, 32
AREA = 1024  # as the fixture asks for

Run = Callable[..., int]


def write_photo(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def results(folder: str = "out") -> list[str]:
    paths = Path(folder).rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def test_depth_of_a_photo_without_a_camera(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("cat.jpg"))
    assert ppd_depth("cat.jpg") == 0
    assert results() == ["cat_depth.npy", "cat_depth.png"]
    depth = np.load("out/cat_depth.npy")
    assert depth.shape == (HEIGHT, WIDTH)
    assert depth.dtype == np.float32
    with Image.open("out/cat_depth.png") as preview:
        assert preview.size == (WIDTH, HEIGHT)
    captured = capsys.readouterr()
    assert captured.out == "1 done: out\n"
    assert captured.err.count("depth is relative, without a unit") == 1
    assert "WARNING: model ppd-da2 is untrained" in captured.err
    assert "1/1" in captured.err and "img" in captured.err  # the progress bar


def test_the_result_is_told_on_a_stdout_that_does_not_know_its_letters(
    ppd_depth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photo(Path("cat.jpg"))
    told = io.BytesIO()
    stdout = io.TextIOWrapper(told, encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert ppd_depth("cat.jpg", "-o", "größe") == 0
    stdout.flush()
    assert told.getvalue() == b"1 done: gr\\xf6\\xdfe\n"


def test_what_is_passed_over_in_a_folder_is_told_and_is_no_failure(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("photos/cat.jpg"))
    Path("photos/cat.raw").touch()
    assert ppd_depth("photos") == 0
    assert "photos: passed over, as no image or video: cat.raw" in capsys.readouterr().err


def test_depth_of_everything_in_metres(
    ppd_depth: Run, tiny: DepthPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("cat.png"))
    words = "--near 0.5 --far 8 --fov-deg 60 --steps 2 --write preview npy png16 ply view"
    assert ppd_depth("cat.png", *words.split()) == 0
    assert results() == [
        "cat_cloud.ply",
        "cat_depth.npy",
        "cat_depth.png",
        "cat_depth16.png",
        "cat_view.png",
    ]
    with Image.open("cat.png") as photo:
        relative = tiny(np.array(photo), num_steps=2, processing_area=AREA).relative_depth
    ratio = np.log1p(8) - np.log1p(0.5)
    expected = np.expm1(ratio * relative.numpy() + np.log1p(0.5))
    metres = np.load("out/cat_depth.npy")
    is_valid = np.isfinite(metres)
    # Near 0 m, float32 is only as fine as it is near 1: expm1 of a sum.
    np.testing.assert_allclose(metres[is_valid], expected[is_valid], rtol=1e-5, atol=1e-7)
    assert (expected[~is_valid] <= 0).all()
    header = Path("out/cat_cloud.ply").read_bytes().split(b"end_header")[0].decode()
    assert f"element vertex {is_valid.sum()}" in header
    assert "comment units: metres" in header
    with Image.open("out/cat_depth16.png") as stored:
        assert stored.text["depth_unit"] == "metre"
        in_range = is_valid & (metres > 0.001) & (metres < 65)
        np.testing.assert_allclose(np.array(stored)[in_range] / 1000, metres[in_range], atol=6e-4)
    assert "relative" not in capsys.readouterr().err


def test_depth_writes_a_cloud_where_the_camera_is_known(ppd_depth: Run) -> None:
    write_photo(Path("cat.png"))
    assert ppd_depth("cat.png", "--focal-px", "40") == 0
    assert results() == ["cat_cloud.ply", "cat_depth.npy", "cat_depth.png"]
    assert b"comment units: none, z is relative depth" in Path("out/cat_cloud.ply").read_bytes()


CALIBRATION = """\
image_width: 96
image_height: 64
camera_matrix: {rows: 3, cols: 3, data: [80, 0, 47.5, 0, 80, 31.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}
"""


def test_depth_takes_a_calibration_of_the_same_shape(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("camera.yaml").write_text(CALIBRATION)
    write_photo(Path("half.png"))
    write_photo(Path("tall.png"), 32, 48)
    assert ppd_depth("half.png", "tall.png", "--camera", "camera.yaml", "--write", "ply") == 1
    assert results() == ["half_cloud.ply"]
    wanted = "shape of the calibrated camera, 96 x 64, got 32 x 48"
    assert f"ppd depth: tall.png: image must have the {wanted}" in capsys.readouterr().err


def test_depth_of_a_folder_goes_on_after_bad_files(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av", reason="videos need PyAV, extra 'video'")
    write_photo(Path("photos/a.png"))
    write_photo(Path("photos/sub/z.jpg"))
    write_photo(Path("photos/small.png"), 4, 4)
    Path("photos/empty.jpg").touch()
    Path("photos/clip.mp4").write_bytes(b"not a video")
    assert ppd_depth("photos", "none.png", "--write", "npy") == 1
    assert results() == ["a_depth.npy", "sub/z_depth.npy"]
    captured = capsys.readouterr()
    assert captured.out == "2 done, 3 failed: out\n"
    lines = captured.err.replace("\r", "\n").splitlines()
    complaints = [line for line in lines if line.startswith("ppd depth: ") and ".npy" not in line]
    assert [line for line in complaints if "WARNING" not in line and "relative" not in line] == [
        "ppd depth: none.png: no such file or folder",
        "ppd depth: photos/clip.mp4 must be a video that FFmpeg can decode, got no readable frame",
        "ppd depth: photos/empty.jpg must be an image file, got an empty one (0 bytes)",
        "ppd depth: photos/small.png: image must be at least 16 x 16 pixels, got 4 x 4",
    ]


def test_depth_of_an_animation_is_that_of_its_first_picture_and_says_so(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue")]
    pictures[0].save("moving.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save("still.gif")
    pictures[0].save("phone.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert ppd_depth("moving.gif", "still.gif", "phone.jpg", "--write", "npy") == 0
    assert results() == ["moving_depth.npy", "phone_depth.npy", "still_depth.npy"]
    err = capsys.readouterr().err
    assert "ppd depth: moving.gif: only its first picture is taken" in err
    assert err.count("first picture") == 1


def test_depth_of_equal_stems_overwrites_nothing(ppd_depth: Run) -> None:
    write_photo(Path("cat.png"))
    write_photo(Path("cat.jpg"))
    assert ppd_depth("cat.png", "cat.jpg", "--write", "npy") == 0
    assert results() == ["cat_jpg_depth.npy", "cat_png_depth.npy"]


def test_depth_skips_what_is_there(ppd_depth: Run, capsys: pytest.CaptureFixture[str]) -> None:
    write_photo(Path("a.png"))
    write_photo(Path("b.png"))
    Path("out").mkdir()
    Path("out/a_depth.npy").write_bytes(b"earlier")
    assert ppd_depth("a.png", "b.png", "--write", "npy") == 0
    assert Path("out/a_depth.npy").read_bytes() == b"earlier"
    summary = "1 done, 1 skipped, whose results exist (see --overwrite): out\n"
    assert capsys.readouterr().out == summary

    assert ppd_depth("a.png", "b.png", "--write", "npy", "--overwrite") == 0
    assert np.load("out/a_depth.npy").shape == (HEIGHT, WIDTH)
    assert capsys.readouterr().out == "2 done: out\n"


def test_depth_makes_what_is_missing_of_an_input(ppd_depth: Run) -> None:
    write_photo(Path("a.png"))
    assert ppd_depth("a.png", "--write", "npy") == 0
    assert ppd_depth("a.png", "--write", "npy", "preview") == 0
    assert results() == ["a_depth.npy", "a_depth.png"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])  # GPU, CPU
def test_depth_reports_that_memory_ran_out(
    ppd_depth: Run,
    tiny: DepthPipeline,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
) -> None:
    def run_out(*args: object, **options: object) -> None:
        raise error("out of memory.\n Tried to allocate 9 GiB")

    monkeypatch.setattr(DepthPipeline, "__call__", run_out)
    write_photo(Path("a.png"))
    assert ppd_depth("a.png") == 1
    assert "ppd depth: a.png: out of memory. Tried to allocate 9 GiB\n" in capsys.readouterr().err


def test_interrupted_depth_leaves_whole_files_alone(
    ppd_depth: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("a.png"))
    write_photo(Path("b.png"))
    saved = []

    def save_half(stream: object, depth: np.ndarray, **options: object) -> None:
        stream.write(b"half")
        if saved:
            raise KeyboardInterrupt
        saved.append(depth)

    monkeypatch.setattr(np, "save", save_half)
    assert ppd_depth("a.png", "b.png", "--write", "npy") == 130
    assert results() == ["a_depth.npy"]
    assert capsys.readouterr().err.endswith("ppd: interrupted\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--focal-px 0", "--focal-px: fx must be a finite focal length > 0 px, got 0.0"),
        ("--focal-px nan", "--focal-px: fx must be a finite focal length > 0 px, got nan"),
        ("--fov-deg 180", "--fov-deg: horizontal_fov_deg must be in (0, 180) degrees, got 180.0"),
        ("--camera none.yaml", "cannot read camera file none.yaml: No such file"),
        ("--focal-px 5 --fov-deg 60", "argument --fov-deg: not allowed with argument --focal-px"),
        ("--focal-px wide", "argument --focal-px: invalid float value: 'wide'"),
        ("--near 1", "--near and --far must be given together, got one of them"),
        ("--near 3 --far 1", "need 0 <= near < far metres, got near 3.0, far 1.0"),
        ("--steps 0", "num_steps must be in [1, 1000], got 0"),
        ("--profile best", "argument --profile: invalid choice: 'best'"),
        ("--every 0", "--every must be >= 1, got 0"),
        ("--write npy ply view", "--write ply view needs --focal-px, --fov-deg or --camera"),
        ("--write mp4", "--write mp4 needs a video, got photos alone"),
        ("--source moge2 --near 1 --far 3", "has metres of its own, got --near and --far, too"),
        ("--source constant", "--source constant needs --near and --far"),
        ("--write gif", "argument --write: invalid choice: 'gif'"),
        ("--dtype int8", "argument --dtype: invalid choice: 'int8'"),
    ],
)
def test_depth_refuses_wrong_usage(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    write_photo(Path("a.png"))
    assert ppd_depth("a.png", *words.split()) == 2
    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()


def test_depth_refuses_a_processing_area_out_of_range(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("a.png"))
    assert ppd_depth("a.png", "--processing-area", "1") == 2
    assert "processing_area must be in [256, 16000000] pixels, got 1" in capsys.readouterr().err


def test_depth_without_any_input_found(ppd_depth: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert ppd_depth("empty") == 2
    assert "empty: no image or video in this folder" in (err := capsys.readouterr().err)
    assert "ppd depth: no input found" in err
    assert not Path("out").exists()


def test_depth_into_a_folder_that_cannot_be_written(
    ppd_depth: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(Path("a.png"))
    Path("out").write_bytes(b"a file")
    assert ppd_depth("a.png") == 2
    assert "ppd depth: cannot write to folder out: File exists" in capsys.readouterr().err
    assert Path("out").read_bytes() == b"a file"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            "--model ppd-xl",
            "unknown model 'ppd-xl'; known presets: ppd-da2, ppd-moge2, nano, tiny",
        ),
        (
            "--model tiny --source moge2",
            "--source moge2 needs a checkpoint with MoGe-2's prompt (--model ppd-moge2), got "
            "--model tiny",
        ),
        ("--model tiny --device warp", "device must be like 'cpu' or 'cuda:0', got 'warp'"),
    ],
)
def test_depth_without_such_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    photo = write_photo(tmp_path / "a.png")
    assert main(["depth", str(photo), "-o", str(tmp_path / "out"), *words.split()]) == 2
    assert complaint in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_depth_without_weights(
    ppd_depth: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def miss(name: str, **options: object) -> None:
        raise WeightsError(f"ppd.pth is missing in {options['weights_dir']}")

    monkeypatch.setattr(DepthPipeline, "from_pretrained", miss)
    write_photo(Path("a.png"))
    assert ppd_depth("a.png", "--weights-dir", "shelf") == 2
    hint = "--model nano is in the package and needs none"
    assert f"ppd depth: ppd.pth is missing in shelf; {hint}\n" in capsys.readouterr().err


def test_depth_hands_model_options_on(
    tiny: DepthPipeline, ppd_depth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build(name: str, **options: object) -> DepthPipeline:
        asked.append((name, options))
        return tiny

    monkeypatch.setattr(DepthPipeline, "from_pretrained", build)
    write_photo(Path("a.png"))
    words = "--model m --device cpu --dtype bfloat16 --backend graph"
    assert ppd_depth("a.png", *words.split()) == 0
    wanted = {"device": "cpu", "dtype": torch.bfloat16, "backend": "graph", "weights_dir": None}
    assert asked == [("m", wanted)]


def test_depth_knows_its_dtypes_by_the_names_of_all(
    tiny: DepthPipeline, ppd_depth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build(_: str, *, dtype: torch.dtype, **__: object) -> DepthPipeline:
        asked.append(dtype)
        return tiny

    monkeypatch.setattr(DepthPipeline, "from_pretrained", build)
    write_photo(Path("a.png"))
    for name in DTYPE_NAMES:
        assert ppd_depth("a.png", "--dtype", name, "--overwrite") == 0
    assert asked == [DTYPES[name] for name in DTYPE_NAMES]
    assert torch.float8_e4m3fn in asked


@pytest.mark.parametrize(
    ("words", "effort"),
    [
        ("", (4, 256 * 192)),
        ("--profile fast", (2, 256 * 96)),
        ("--profile quality", (20, 256 * 192)),
        ("--profile fast --steps 3", (3, 256 * 96)),
        ("--profile fast --processing-area 1024", (2, 1024)),
    ],
)
def test_depth_spends_what_the_profile_says_but_for_what_is_given(
    tiny: DepthPipeline,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: str,
    effort: tuple[int, int],
) -> None:
    estimate, efforts = DepthPipeline.__call__, []

    def note(self: DepthPipeline, *args: object, **options: object) -> object:
        efforts.append((options["num_steps"], options["processing_area"]))
        return estimate(self, *args, **{**options, "num_steps": 1, "processing_area": 1024})

    monkeypatch.setattr(DepthPipeline, "from_pretrained", lambda *args, **options: tiny)
    monkeypatch.setattr(DepthPipeline, "__call__", note)
    photo = write_photo(tmp_path / "a.png")
    assert main(["depth", str(photo), "-o", str(tmp_path / "out"), *words.split()]) == 0
    assert efforts == [effort]


def test_main_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["depth", "--help"]) == 0
    text = capsys.readouterr().out
    for ending in ("cat_depth.png", "cat_depth.npy", "cat_depth16.png", "cat_cloud.ply"):
        assert ending in text
    assert "exit status" in text
    assert main(["--version"]) == 0
    assert main([]) == 2
    assert main(["fly"]) == 2


def test_main_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "ppd_core.cli", "--version"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0
    assert finished.stdout.startswith("ppd ")
