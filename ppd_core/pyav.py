"""PyAV, which only those have who asked for it: FFmpeg with its x264 is not for everybody."""

from __future__ import annotations

from typing import Any


def import_av() -> Any:
    """The module `av`.

    Raises:
        ValueError: it is not installed; the message says how to.
    """
    try:
        import av
    except ImportError as error:
        raise ValueError(
            f"videos need PyAV, got none ({error}): pip install 'ppd_ros[video]'"
        ) from error
    return av
