"""What a package of `ppd export` says of itself, read without running anything of it."""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ppd_core.config import PACKAGE_FORMATS, PipelineConfig, config_from_json, config_to_json
from ppd_core.registry import WeightsError
from ppd_core.version import __version__

SUFFIX = ".pt2"
_MEMBER = "extra/ppd.json"
_MAX_FACTS_BYTES = 1 << 20
_CPU_INFO = Path("/proc/cpuinfo")
# What the compiler may have used of the CPU that it ran on.
_INSTRUCTION_SETS = re.compile(r"(avx|amx|fma|bmi|f16c|sse|gfni|vaes|vpclmul|asimd|sve|i8mm|bf16)")


@dataclass(frozen=True)
class Host:
    """What compiled code depends on.

    Attributes:
        system: operating system and processor family.
        cpu_instructions: vector instruction sets of the CPU, sorted; empty where unknown.
        compute_capability: of the CUDA device, "8.9"; empty on the CPU.
        torch_version: without the part that names a build.
    """

    system: str
    cpu_instructions: tuple[str, ...]
    compute_capability: str
    torch_version: str

    @classmethod
    def of(cls, device: torch.device) -> Host:
        """This machine, with that device."""
        capability = ""
        if device.type == "cuda":
            capability = "{}.{}".format(*torch.cuda.get_device_capability(device))
        return cls(
            system=f"{sys.platform} {platform.machine()}",
            cpu_instructions=_cpu_instructions(),
            compute_capability=capability,
            torch_version=torch.__version__.split("+")[0],
        )

    def refusal(self, here: Host) -> str:
        """Why what was built on this host does not run on the other, or nothing."""
        missing = sorted(set(self.cpu_instructions) - set(here.cpu_instructions))
        if self.system != here.system:
            return f"built for {self.system}, got {here.system}"
        if self.torch_version != here.torch_version:
            return f"built with torch {self.torch_version}, got {here.torch_version}"
        if self.compute_capability != here.compute_capability:
            return (
                f"built for CUDA compute capability {self.compute_capability}, "
                f"got {here.compute_capability}"
            )
        return f"built for a CPU with {', '.join(missing)}, got one without" if missing else ""


@dataclass(frozen=True)
class PackageFacts:
    """What a package was built of and for.

    Attributes:
        format: of `PACKAGE_FORMATS`.
        config: of the pipeline; its step count and processing area are the package's own.
        is_trained: False for weights that nobody trained.
        batch, height, width: of the images at model size.
        timesteps: of the sampler, falling.
        dtype: of weights and activations, as "bfloat16".
        device_type: "cpu" or "cuda".
        host: on which it was built.
        ppd_version: which built it.
    """

    format: str
    config: PipelineConfig
    is_trained: bool
    batch: int
    height: int
    width: int
    timesteps: tuple[int, ...]
    dtype: str
    device_type: str
    host: Host
    ppd_version: str = __version__

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("format", self.format, PACKAGE_FORMATS),
            ("device_type", self.device_type, ("cpu", "cuda")),
            ("dtype", self.dtype, ("float32", "bfloat16", "float16", "float64")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        sizes = (self.batch, self.height, self.width, *self.timesteps, len(self.timesteps))
        if not all(type(size) is int and size >= 0 for size in sizes) or not self.timesteps:
            raise ValueError(f"batch, size and timesteps must be whole numbers, got {sizes}")

    @property
    def built_for(self) -> str:
        """Size, steps and batch, for a reader."""
        return describe(self.batch, self.height, self.width, len(self.timesteps))

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        return json.dumps({**asdict(self), "config": config_to_json(self.config)})

    @classmethod
    def from_json(cls, text: str) -> PackageFacts:
        """The inverse of `to_json`.

        Raises:
            ValueError: not JSON, an unknown field, or a value that cannot be.
        """
        try:
            values = json.loads(text)
            host = values["host"]
            host["cpu_instructions"] = tuple(host["cpu_instructions"])
            values |= {
                "config": config_from_json(values["config"]),
                "timesteps": tuple(values["timesteps"]),
                "host": Host(**host),
            }
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"facts must be as to_json writes them: {error}") from error


def describe(batch: int, height: int, width: int, num_steps: int) -> str:
    """One way to say what is fixed in a package."""
    steps = "1 step" if num_steps == 1 else f"{num_steps} steps"
    return f"{width} x {height}, {steps}, batch {batch}"


def is_package(name_or_path: str | Path) -> bool:
    """Whether a model's name is that of a package's file."""
    return Path(name_or_path).suffix == SUFFIX


def write_facts(path: Path, facts: PackageFacts) -> None:
    """Add the facts to a package that torch has written."""
    with zipfile.ZipFile(path, "a") as archive:
        # The archive's one folder; below it, `extra` is where torch lets others put files.
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/{_MEMBER}", facts.to_json())


def read_facts(path: str | Path) -> PackageFacts:
    """Read what a package says of itself; nothing in it is run.

    Raises:
        WeightsError: missing, truncated, or not a package of `ppd export`.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/{_MEMBER}")]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > _MAX_FACTS_BYTES:
                raise WeightsError(f"{path} must be a package that `ppd export` wrote")
            text = archive.read(names[0]).decode()
    except OSError as error:
        raise WeightsError(f"package {path} cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is truncated, damaged or not a package") from error
    try:
        return PackageFacts.from_json(text)
    except ValueError as error:
        raise WeightsError(f"package {path} has unusable facts: {error}") from error


def _cpu_instructions() -> tuple[str, ...]:
    try:
        text = _CPU_INFO.read_text()
    except OSError:
        return ()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    words = found[1].split() if found else []
    return tuple(sorted({word for word in words if _INSTRUCTION_SETS.match(word)}))
