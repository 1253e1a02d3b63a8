"""Recorded reference outputs, and the weights that they were recorded with."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ppd_core import DepthPipeline
from ppd_core.compile_cache import VARIABLES
from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig
from ppd_core.cpp_compiler import require_cpp_compiler
from ppd_core.device_resize import axis_weights
from ppd_core.export import check_tools
from ppd_core.registry import REGISTRY, PublishedFile

GOLDEN = Path(__file__).parent.parent / "golden"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RELATIVE_TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Tensor]]:
    """Name -> the tensors of that recording."""
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture(scope="session")
def published_shapes() -> dict[str, dict[str, list[int]]]:
    """Network -> parameter name -> shape, as in the released checkpoints."""
    return json.loads((GOLDEN / "state_dict_shapes.json").read_text())


def recipe_tensor(name: str, shape: torch.Size) -> Tensor:
    """The weights of the recordings: determined by each parameter's published name."""
    seed = zlib.crc32(name.encode()) & 0xFFFFFFFF
    r = np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
    if len(shape) == 1 and name.endswith("weight"):
        r = 1 + 0.1 * r
    elif name.endswith("gamma"):
        r = 0.1 + 0.02 * r
    elif len(shape) == 1:
        r = 0.02 * r
    else:
        r = r * np.float32(0.5 / np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(np.asarray(r, dtype=np.float32))


@pytest.fixture(scope="session")
def with_recipe_weights() -> Callable[..., nn.Module]:
    """Builds a module on the meta device and gives it the recordings' weights."""

    def build(make: Callable[[], nn.Module], published_prefix: str = "") -> nn.Module:
        with torch.device("meta"):
            module = make().eval().requires_grad_(False)
        kept = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        tensors = {}
        for name, parameter in module.state_dict().items():
            last = name.rsplit(".", 1)[-1]
            if last in kept:
                tensors[name] = torch.tensor(kept[last]).view(1, 3, 1, 1)
            else:
                tensors[name] = recipe_tensor(published_prefix + name, parameter.shape)
        module.load_state_dict(tensors, strict=True, assign=True)
        return module.requires_grad_(False)

    return build


def relative_error(out: Tensor, reference: Tensor) -> float:
    """||out - reference|| / ||reference||."""
    difference = (out.double() - reference.double()).norm()
    return float(difference / reference.double().norm())


@pytest.fixture(scope="session")
def assert_parity() -> Callable[[Tensor, Tensor], None]:
    """Fails unless the relative error is within the tolerance."""

    def check(out: Tensor, reference: Tensor) -> None:
        assert out.shape == reference.shape
        error = relative_error(out, reference)
        assert error <= RELATIVE_TOLERANCE, f"relative error {error:.2e}"

    return check


@pytest.fixture
def register_toy(monkeypatch) -> Callable[..., PublishedFile]:
    """Puts a file called "toy" into the registry, for this test."""

    def register(**facts: object) -> PublishedFile:
        defaults = {
            "name": "toy",
            "filename": "toy.pth",
            "page_url": "https://example.org/toy",
            "licence": "CC-BY-NC-4.0",
            "use": "tests",
            "hub_repo": "someone/toy",
            "hub_filename": "model.pt",
        }
        file = PublishedFile(**(defaults | facts))
        monkeypatch.setitem(REGISTRY, "toy", file)
        return file

    return register


@pytest.fixture
def toy(register_toy) -> PublishedFile:
    """That file."""
    return register_toy()


class _CaptureWatch(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: copies from and to the host, and waits."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        # `lift_fresh` is how a tensor of Python numbers comes into being.
        is_copy = name in ("_to_copy", "copy_", "copy")
        devices = {one.device.type for one in (*given, out) if isinstance(one, Tensor)}
        assert name not in ("lift_fresh", "lift", "_local_scalar_dense"), f"{func} on the host"
        assert not (is_copy and len(devices) > 1), f"{func} between {devices}"
        return out


@pytest.fixture
def fake_cuda() -> Callable[[], AbstractContextManager]:
    """Makes contexts in which there is a CUDA device that computes shapes alone.

    What a context gives makes contexts that fail at anything that cannot be captured in a graph.
    """

    @contextmanager
    def make():
        axis_weights.cache_clear()  # Fake tensors must not meet those of others.
        with FakeTensorMode():
            yield _CaptureWatch
        axis_weights.cache_clear()

    return make


@pytest.fixture(scope="session")
def cpp_compiler() -> None:
    """Skips, with what to install, where torch's compiler cannot work on the CPU."""
    try:
        require_cpp_compiler("this test")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def compiling(cpp_compiler: None) -> Iterator[None]:
    """A fresh start for torch's compiler, and none of the compiled code left for other tests."""
    torch._dynamo.reset()
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:  # Not in the user's cache, but kept for the next tests.
            patch.setenv(variable, str(Path(tempfile.gettempdir(), "ppd_test_compiled", variable)))
        yield
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def export_tools() -> None:
    """Skips, with what to install, where nothing can be exported for the CPU."""
    try:
        check_tools(torch.device("cpu"), "aoti")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """Makes small videos; skips where PyAV, the extra `video`, is not installed."""
    av = pytest.importorskip("av", reason="videos need PyAV, extra 'video'")

    def write(
        path: Path,
        images: Sequence[np.ndarray],
        stamps_ms: Sequence[int] | None = None,
        *,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        audio: str | None = None,
        audio_s: float = 1.0,
        turn: tuple[int, bool] = (0, False),
        rate: int = 10,
    ) -> Path:
        """Images every 100 ms or at their stamps; a tone; degrees counter-clockwise, mirrored."""
        time_base = Fraction(1, 1000)
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = pix_fmt
            # These fill a fine time base up with empty frames, or do not have it.
            if path.suffix not in (".avi", ".vob", ".mjpeg", ".h264", ".asf"):
                stream.codec_context.time_base = time_base
            if turn != (0, False):
                if not hasattr(stream, "set_display_rotation"):
                    pytest.skip("this PyAV, older than 18, can only read turned videos")
                stream.set_display_rotation(turn[0], hflip=turn[1])
            sound = container.add_stream(audio, rate=48_000) if audio else None
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts = 100 * index if stamps_ms is None else stamps_ms[index]
                frame.time_base = time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if sound is not None:
                wave = 8000 * np.sin(np.arange(int(audio_s * 48_000)) * 2 * np.pi * 440 / 48_000)
                stereo = wave.astype(np.int16).repeat(2)[None]
                block = av.AudioFrame.from_ndarray(stereo, format="s16", layout="stereo")
                block.sample_rate, block.pts = 48_000, 0
                for part in (block, None):
                    container.mux(sound.encode(part))
        return path

    return write


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of `benchmarks/`, as `python benchmarks/NAME.py` finds its siblings."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def run_on_clips(
    benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> Callable[..., tuple[ModuleType, dict[str, float], str]]:
    """Runs a benchmark on short simulated videos with a tiny model; skips where none can be drawn.

    Name, scenes and frames of each -> its module, its figures, and the page that it filled in.
    """
    pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
    from ppd_core.sim.camera import RenderingUnavailableError, RgbdCamera

    try:
        RgbdCamera(16, 16).close()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))

    def run(
        name: str, *, scenes: int, moving: int, static: int
    ) -> tuple[ModuleType, dict[str, float], str]:
        config = PipelineConfig(
            model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False),
            preprocess=PreprocessConfig(processing_area=32 * 32),
        )
        checkpoint, page = tmp_path / "small.safetensors", tmp_path / "page.md"
        DepthPipeline.from_config(config, device="cpu").save_pretrained(checkpoint)
        page.write_text(f"before\n<!-- {name}: begin -->\nold\n<!-- {name}: end -->\nafter\n")
        script = benchmark(name)
        script.main(
            [
                *("--checkpoint", str(checkpoint), "--scenes", str(scenes), "--threads", "1"),
                *("--moving-frames", str(moving), "--static-frames", str(static)),
                *("--json", str(tmp_path / "a.json"), "--markdown", str(page)),
            ]
        )
        return script, json.loads((tmp_path / "a.json").read_text()), page.read_text()

    return run
