from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from ppd_core.sim.camera import RgbdCamera

# A shell gives its background jobs an ignored SIGINT, which Python and all its children keep; the
# tests of Ctrl-C need the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
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
