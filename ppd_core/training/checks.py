"""The checks that the training configs share; each error says what was wanted and what came."""

from __future__ import annotations


def require(holds: bool, message: str) -> None:
    """Raise ValueError with the message unless it holds."""
    if not holds:
        raise ValueError(message)


def require_at_least(config: object, low: float, *names: str) -> None:
    """Every named field is >= low."""
    for name in names:
        value = getattr(config, name)
        require(value >= low, f"{name} must be >= {low}, got {value}")


def require_above(config: object, low: float, *names: str) -> None:
    """Every named field is > low."""
    for name in names:
        value = getattr(config, name)
        require(value > low, f"{name} must be > {low}, got {value}")


def require_share(config: object, *names: str) -> None:
    """Every named field is in [0, 1]."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value <= 1, f"{name} must be in [0, 1], got {value}")


def require_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """The named field is one of the choices."""
    value = getattr(config, name)
    require(value in choices, f"{name} must be one of {', '.join(choices)}, got {value!r}")


def require_size(name: str, size: tuple[int, int] | None, multiple: int = 1) -> None:
    """(height, width), if any, of sides that are multiples of `multiple`."""
    if size is not None:
        fits = all(side >= 1 and side % multiple == 0 for side in size)
        wanted = f"(height, width), multiples of {multiple}" if multiple > 1 else "sides >= 1"
        require(fits, f"{name} must be {wanted}, got {size}")
