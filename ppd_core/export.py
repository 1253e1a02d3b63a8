"""Compile a pipeline's networks, sampling included, to one file for one size and step count."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ppd_core.backends.aoti import import_tensorrt, open_package
from ppd_core.backends.package import SUFFIX, Host, PackageFacts, is_package, write_facts
from ppd_core.config import PACKAGE_FORMATS
from ppd_core.cpp_compiler import require_cpp_compiler
from ppd_core.flow import timestep_grid
from ppd_core.networks import Networks, Schedule
from ppd_core.precision import DEPTH_TOLERANCE, relative_error

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from ppd_core.pipeline import DepthPipeline

MIN_TORCH = (2, 6)


class ExportError(Exception):
    """A package could not be made, or does not give the depth that it should."""


@dataclass(frozen=True)
class ExportReport:
    """What an export took and gave.

    Attributes:
        facts: of the package.
        seconds: of each part.
        size_bytes: of the file.
        max_error: largest difference of relative depth from the plain path.
        relative_error: ||difference|| / ||depth||, over a random image.
        tolerance: what that may be.
    """

    facts: PackageFacts
    seconds: dict[str, float]
    size_bytes: int
    max_error: float
    relative_error: float
    tolerance: float


class FixedSampler(nn.Module):
    """Prompt and sampling for one size and one step count, as a module of two tensors.

    Args:
        networks: with weights.
        timesteps: of the sampler.
        height, width: of images at model size.
    """

    def __init__(
        self, networks: Networks, timesteps: tuple[int, ...], height: int, width: int
    ) -> None:
        super().__init__()
        self.models = networks.models
        self._networks = networks
        self._timesteps = timesteps
        with torch.no_grad():
            schedule = networks.schedule(timesteps, height, width)
        # As buffers they are constants of the package.
        self._modulation_names = self._keep("modulation", schedule.modulations)
        self._rope_names = self._keep("rope", (*schedule.ropes[0], *schedule.ropes[1]))

    def _keep(self, name: str, tensors: tuple[Tensor, ...]) -> list[str]:
        names = [f"{name}_{index}" for index in range(len(tensors))]
        for each, tensor in zip(names, tensors, strict=True):
            self.register_buffer(each, tensor.clone())
        return names

    def forward(self, images: Tensor, x_t: Tensor) -> Tensor:
        """Estimate depth.

        Args:
            images: (B, 3, h, w) in [0, 1].
            x_t: (B, 1, h, w), the field at the first of the times.

        Returns:
            (B, 1, h, w) relative depth, in the dtype of `x_t`.
        """
        modulations = tuple(getattr(self, name) for name in self._modulation_names)
        cos_1, sin_1, cos_2, sin_2 = (getattr(self, name) for name in self._rope_names)
        schedule = Schedule(self._timesteps, modulations, ((cos_1, sin_1), (cos_2, sin_2)))
        return self._networks.estimate(images, x_t, schedule).relative_depth


def export(
    pipeline: DepthPipeline,
    path: str | Path,
    *,
    height: int,
    width: int,
    num_steps: int | None = None,
    processing_area: int | None = None,
    batch: int = 1,
    format: str = "aoti",
) -> ExportReport:
    """Compile a pipeline for its device and write it to a file that `from_pretrained` reads.

    The file appears only when the package in it has given the plain path's depth. MoGe-2's own
    metres are not in it: its heads depend on the size of the image.

    Args:
        pipeline: with the networks to be compiled, on the device and in the dtype of the package.
        path: ends in .pt2.
        height, width: of the images, from which the model size follows.
        num_steps, processing_area: default the pipeline's.
        batch: images in a call.
        format: "aoti", or "tensorrt" where torch_tensorrt is installed.

    Raises:
        ValueError: an argument is not usable, or what compiles is missing here.
        ExportError: the networks do not compile, or the package's depth is another.
    """
    path = Path(path)
    facts = _facts(pipeline, path, (height, width), num_steps, processing_area, batch, format)
    check_tools(pipeline.device, format)
    assert pipeline.models is not None
    module = FixedSampler(
        Networks(pipeline.config, pipeline.models), facts.timesteps, facts.height, facts.width
    )
    module.eval().requires_grad_(False)
    inputs = _random_inputs(facts, pipeline)
    seconds: dict[str, float] = {}
    unfinished = path.with_name(f".{path.stem}-{os.getpid()}{SUFFIX}")
    try:
        with torch.no_grad(), _explained():
            with _timed(seconds, "trace"):
                program = torch.export.export(module, inputs)
            with _timed(seconds, "compile"):
                compile_package = _compile_tensorrt if format == "tensorrt" else _compile_aoti
                compile_package(program, inputs, unfinished, pipeline.dtype)
                write_facts(unfinished, facts)
            with _timed(seconds, "load"):
                package = open_package(unfinished, facts, pipeline.device)
            with _timed(seconds, "check"):
                found, expected = package.run(*inputs), module(*inputs)
        report = ExportReport(
            facts=facts,
            seconds=seconds,
            size_bytes=unfinished.stat().st_size,
            max_error=float((found - expected).abs().max()),
            relative_error=relative_error(found, expected),
            tolerance=DEPTH_TOLERANCE[pipeline.dtype],
        )
        if report.relative_error > report.tolerance:
            raise ExportError(
                f"the package's depth must be within {report.tolerance:.0e} of the plain path's, "
                f"got a relative error of {report.relative_error:.1e}"
            )
        os.replace(unfinished, path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return report


def _facts(
    pipeline: DepthPipeline,
    path: Path,
    image_size: tuple[int, int],
    num_steps: int | None,
    processing_area: int | None,
    batch: int,
    format: str,
) -> PackageFacts:
    """What is to be built, of arguments that are usable."""
    if not is_package(path):
        raise ValueError(f"a package's name must end in {SUFFIX}, got {path.name!r}")
    if not path.parent.is_dir():
        raise ValueError(f"folder {path.parent} must exist")
    if format not in PACKAGE_FORMATS:
        raise ValueError(f"format must be one of {', '.join(PACKAGE_FORMATS)}, got {format!r}")
    if pipeline.models is None:
        raise ValueError("a package cannot be exported again: give the model that it was made of")
    if batch < 1:
        raise ValueError(f"batch must be >= 1, got {batch}")
    if min(image_size) < 1:
        raise ValueError(f"image size must be >= 1 x 1, got {image_size[1]} x {image_size[0]}")
    config = pipeline.config
    if num_steps is not None:
        config = replace(config, sampler=replace(config.sampler, num_steps=num_steps))
    if processing_area is not None:
        preprocess = replace(config.preprocess, processing_area=processing_area)
        config = replace(config, preprocess=preprocess)
    # The area and not h * w: of that, the same image may be rounded to another size.
    height, width = pipeline.model_size(*image_size, config.preprocess.processing_area)
    return PackageFacts(
        format=format,
        config=config,
        is_trained=pipeline.is_trained,
        batch=batch,
        height=height,
        width=width,
        timesteps=tuple(timestep_grid(config.sampler.num_steps)),
        dtype=str(pipeline.dtype).removeprefix("torch."),
        device_type=pipeline.device.type,
        host=Host.of(pipeline.device),
    )


def check_tools(device: torch.device, format: str) -> None:
    """Refuse to start without what compiles.

    Raises:
        ValueError: it is not here; the message says what to install.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MIN_TORCH:
        raise ValueError(f"export needs torch >= 2.6, got {torch.__version__}")
    if format == "tensorrt":
        if device.type != "cuda":
            raise ValueError(f"format tensorrt needs a CUDA device, got {device}")
        import_tensorrt()
    require_cpp_compiler("export")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ValueError("export for a CUDA device needs Triton: pip install triton")


def _compile_aoti(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, dtype: torch.dtype
) -> None:
    import torch._inductor

    options: dict[str, Any] = {}
    if inputs[0].device.type == "cpu":
        options = {
            # Packs weights as oneDNN wants them; in float32 that doubles the file for little.
            "freezing": dtype in (torch.bfloat16, torch.float16),
            # As many threads as the user of the package has, not as its builder had.
            "cpp.dynamic_threads": True,
        }
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs=options
    )


def _compile_tensorrt(
    program: ExportedProgram, inputs: tuple[Tensor, ...], path: Path, dtype: torch.dtype
) -> None:
    torch_tensorrt = import_tensorrt()
    compiled = torch_tensorrt.dynamo.compile(
        program,
        arg_inputs=inputs,
        use_explicit_typing=True,  # Norms and the sampled field stay in float32.
        truncate_double=True,
    )
    # retrace: engines are modules, which the packager has to see as operations.
    torch_tensorrt.save(
        compiled, str(path), output_format="aot_inductor", arg_inputs=inputs, retrace=True
    )


def _random_inputs(facts: PackageFacts, pipeline: DepthPipeline) -> tuple[Tensor, Tensor]:
    generator = torch.Generator("cpu").manual_seed(0)
    size = (facts.height, facts.width)
    images = torch.rand(facts.batch, 3, *size, generator=generator, device="cpu")
    noise = torch.randn(facts.batch, 1, *size, generator=generator, device="cpu")
    device, dtype = pipeline.device, pipeline.state_dtype
    return images.to(device, dtype), noise.to(device, dtype)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


@contextmanager
def _explained() -> Iterator[None]:
    """What fails in torch's compiler, in one line."""
    try:
        yield
    except (ExportError, OSError):
        raise
    except Exception as error:  # Compilers fail in ways of their own.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else ""
        raise ExportError(f"cannot compile: {type(error).__name__}: {reason}") from error
