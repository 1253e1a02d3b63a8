"""A PLY file -> the points and colours of its cloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_NUMBERS = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = b"end_header"
_COLORS = ("red", "green", "blue")


def read_ply(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the points of a PLY file, of `write_ply` or another program's; faces are not read.

    Args:
        path: ASCII or binary of either byte order, its vertices first, with x, y and z.

    Returns:
        (N, 3) float32 points as the file has them, and (N, 3) uint8 RGB; None where the vertices
        have no red, green and blue of 8 bits.

    Raises:
        ValueError: the file cannot be read, or is not such a file; the message names it.

    Source: G. Turk, The PLY Polygon File Format, 1994.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    try:
        vertices = _vertices(content)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} cannot be read as PLY: {error}") from error
    points = np.stack([vertices[axis] for axis in "xyz"], axis=-1).astype(np.float32)
    names = vertices.dtype.names or ()
    if not all(name in names and vertices.dtype[name] == np.uint8 for name in _COLORS):
        return points, None
    return points, np.stack([vertices[name] for name in _COLORS], axis=-1)


def _vertices(content: bytes) -> np.ndarray:
    """(N,) with the properties of the vertices as named fields."""
    header, end, rest = content.partition(_END)
    if not (content.startswith(b"ply") and end):
        raise ValueError("it must begin with 'ply' and have an 'end_header', got something else")
    body = rest.partition(b"\n")[2]
    kind, count, properties = _layout(header.decode("ascii", "replace"))
    missing = [axis for axis in "xyz" if axis not in dict(properties)]
    if missing:
        raise ValueError(f"vertices must have x, y and z, got no {' and no '.join(missing)}")
    dtype = np.dtype([(name, _ORDERS[kind] + number) for name, number in properties])
    if kind == "ascii":
        return _ascii_vertices(body, count, dtype)
    if len(body) < count * dtype.itemsize:
        raise ValueError(f"{count} vertices need {count * dtype.itemsize} bytes, got {len(body)}")
    return np.frombuffer(body, dtype, count)


def _layout(header: str) -> tuple[str, int, list[tuple[str, str]]]:
    """Format, number of vertices, and name and numpy type of their properties."""
    lines = [line.split() for line in header.splitlines() if line.strip()]
    kind = next((words[1] for words in lines if words[0] == "format" and len(words) > 1), "none")
    if kind not in _ORDERS:
        raise ValueError(f"format must be one of {', '.join(_ORDERS)}, got {kind}")
    starts = [index for index, words in enumerate(lines) if words[0] == "element"]
    if not starts or lines[starts[0]][1:2] != ["vertex"]:
        raise ValueError("its first element must be 'vertex', got another")
    count = " ".join(lines[starts[0]][2:])
    if not count.isdecimal():
        raise ValueError(f"the number of its vertices must be one, got {count!r}")
    of_vertices = lines[starts[0] + 1 : starts[1] if len(starts) > 1 else None]
    properties = [words for words in of_vertices if words[0] == "property"]
    unknown = [
        " ".join(words) for words in properties if len(words) != 3 or words[1] not in _NUMBERS
    ]
    if unknown:
        raise ValueError(f"properties of a vertex must be numbers, got {unknown[0]!r}")
    return kind, int(count), [(name, _NUMBERS[number]) for _, number, name in properties]


def _ascii_vertices(body: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    lines = body.decode("ascii", "replace").splitlines()[:count]
    rows = [tuple(line.split()) for line in lines]
    width = len(dtype.names or ())
    if len(rows) < count or any(len(row) != width for row in rows):
        raise ValueError(f"{count} vertices need as many lines of {width} numbers")
    return np.array(rows, dtype) if rows else np.empty(0, dtype)
