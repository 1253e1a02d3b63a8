"""The C++ compiler that torch's own compiler needs on a CPU."""

from __future__ import annotations


def require_cpp_compiler(purpose: str) -> None:
    """Refuse to start what would fail later without one.

    Args:
        purpose: who needs it, as the message names them.

    Raises:
        ValueError: there is none; the message says what to install.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler  # seconds to import

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise ValueError(
            f"{purpose} needs a C++ compiler, found none: install g++ (Debian, Ubuntu: "
            "apt install g++), or name another in $CXX"
        ) from error
