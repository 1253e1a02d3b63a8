from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ppd_core.sim.camera import RgbdCamera

# A shell gives its background jobs an ignored SIGINT, which Python and all its children keep; the
# tests of Ctrl-C need the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# For all torch that is imported from here on, the tests' child processes among it: several workers
# are at work beside each other, and a thread too many makes the others wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups after us
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker, and skip what needs a GPU where there is none.

    A file's tests share what its fixtures made. Those of the group "memory" take gigabytes: one
    worker has them all, so that no two are at work at a time.
    """
    import torch  # here: pytest-xdist's own process collects nothing, and has no use for it

    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def open_camera() -> Callable[..., RgbdCamera]:
    """Opens the simulator's camera; where nothing can be drawn, skips."""
    pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
    from ppd_core.sim.camera import RenderingUnavailableError, RgbdCamera

    def open_camera(*size: int) -> RgbdCamera:
        try:
            return RgbdCamera(*size)
        except RenderingUnavailableError as error:
            pytest.skip(str(error))

    return open_camera


@pytest.fixture(scope="session")
def rendering(open_camera: Callable[..., RgbdCamera]) -> None:
    """Skips where nothing can be drawn."""
    open_camera(16, 16).close()
