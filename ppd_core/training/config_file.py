"""YAML, and `key=value` words on top, to a `TrainConfig`; an unknown key is refused by name."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppd_core.training.config import TrainConfig


def load_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read a run's config.

    Args:
        path: YAML file.
        changes: words like "optimizer.lr=1e-3" or "data.size=[96, 128]": the path of a field,
            and its new value in YAML. Elements of a list go by number: "phases.0.until_step=5".

    Raises:
        ValueError: the file cannot be read, or a key or value is not usable; the message says
            which.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config {path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"config {path} must be a mapping, got {type(values).__name__}")
    for change in changes:
        _apply(values, change)
    try:
        return build(TrainConfig, values)
    except ValueError as error:
        raise ValueError(f"config {path}: {error}") from error


def _apply(values: dict[str, Any], change: str) -> None:
    import yaml

    key, equals, text = change.partition("=")
    if not (key and equals):
        raise ValueError(f"a change must be like key=value, got {change!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the value of {change!r} is not YAML: {error}") from error
    *parents, last = key.split(".")
    node: Any = values
    for name in parents:
        if isinstance(node, list):
            node = node[_index(node, name, change)]
        elif isinstance(node, dict):
            if node.get(name) is None:
                node[name] = {}
            node = node[name]
    if isinstance(node, list):
        node[_index(node, last, change)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ValueError(f"{change!r} goes into {type(node).__name__}, which has no fields")


def _index(node: list[Any], name: str, change: str) -> int:
    if not (name.isdecimal() and int(name) < len(node)):
        raise ValueError(f"{change!r}: {name!r} must be an index below {len(node)}")
    return int(name)


def build(kind: Any, values: Any, key: str = "") -> Any:
    """Make a dataclass of plain values, nested ones too.

    Args:
        kind: the dataclass.
        values: a mapping of its fields.
        key: where it stands in the whole, for messages.

    Raises:
        ValueError: an unknown or missing field, or a value of another type.
    """
    where = f"{key} " if key else ""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}must be a mapping, got {values!r}")
    fields = {one.name: one for one in dataclasses.fields(kind)}
    unknown = sorted(set(map(str, values)) - set(fields))
    if unknown:
        raise ValueError(
            f"unknown key {', '.join(_join(key, name) for name in unknown)}; "
            f"known: {', '.join(fields)}"
        )
    missing = [
        name
        for name, one in fields.items()
        if name not in values
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"missing key {', '.join(_join(key, name) for name in missing)}")
    hints = typing.get_type_hints(kind)
    made = {name: _convert(hints[name], value, _join(key, name)) for name, value in values.items()}
    try:
        return kind(**made)
    except ValueError as error:
        raise ValueError(f"{key}: {error}" if key else str(error)) from error


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _convert(hint: Any, value: Any, key: str) -> Any:
    """The value as what the type hint asks for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (wanted,) = (one for one in args if one is not types.NoneType)
        return None if value is None else _convert(wanted, value, key)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, key)
    if origin is tuple:
        return _convert_tuple(args, value, key)
    if hint is float and isinstance(value, str):
        value = _number(value)  # YAML 1.1 takes 1e-4 for text.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted_type = Mapping if origin is not None else hint
    if not isinstance(value, wanted_type) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{key} must be {_name(hint)}, got {value!r}")
    return value


def _convert_tuple(args: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} must be a list, got {value!r}")
    if args[-1] is Ellipsis:
        return tuple(_convert(args[0], one, f"{key}.{i}") for i, one in enumerate(value))
    if len(value) != len(args):
        raise ValueError(f"{key} must be {len(args)} values, got {value!r}")
    return tuple(
        _convert(hint, one, f"{key}.{i}")
        for i, (hint, one) in enumerate(zip(args, value, strict=True))
    )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _name(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(hint, "a mapping")
