"""Decompression as far as the bytes go."""

from __future__ import annotations

import bz2

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LARGEST_BYTES = 4 * 2**30
"""Of one chunk or message; a size beyond it is a damaged one."""


def unpacked(stored: bytes, compression: str, full_size: int) -> tuple[bytes, bool]:
    """What can be decompressed, and whether it came to a proper end.

    Args:
        stored: the bytes in the file, perhaps cut.
        compression: "", "none", "zstd", "lz4" or "bz2".
        full_size: bytes that it should come to.

    Raises:
        ValueError: the compression is not known.
    """
    if compression in ("", "none"):
        return stored, True
    if not 0 <= full_size <= LARGEST_BYTES:
        return b"", False
    if compression == "zstd":
        return _zstd(stored, full_size)
    if compression == "lz4":
        return _lz4(stored, full_size)
    if compression == "bz2":
        return _bz2(stored, full_size)
    raise ValueError(f"compression must be zstd, lz4 or bz2, got {compression!r}")


def unpack_message(data: bytes) -> bytes:
    """Decompress a message that rosbag2 compressed by itself.

    Raises:
        ValueError: it cannot be.
    """
    import zstandard

    try:
        full_size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    whole, is_whole = (
        _zstd(data, max(full_size, 0)) if full_size <= LARGEST_BYTES else (b"", False)
    )
    if not is_whole:
        raise ValueError("a compressed message is damaged")
    return whole


def _zstd(stored: bytes, full_size: int) -> tuple[bytes, bool]:
    import zstandard

    try:
        # One call into one buffer for what is whole, which nearly all is.
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=full_size), True
    except (zstandard.ZstdError, MemoryError):
        pass
    stream = zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    try:
        for at in range(0, len(stored), 2**16):
            parts.append(stream.decompress(stored[at : at + 2**16]))
    except zstandard.ZstdError:
        return b"".join(parts), False
    return b"".join(parts), stream.eof


def _lz4(stored: bytes, full_size: int) -> tuple[bytes, bool]:
    from lz4.frame import LZ4FrameDecompressor

    stream = LZ4FrameDecompressor()
    parts: list[bytes] = []
    try:
        for at in range(0, len(stored), 2**20):
            if stream.eof:
                break
            parts.append(stream.decompress(stored[at : at + 2**20]))
    except (RuntimeError, MemoryError):
        return b"".join(parts), False
    return b"".join(parts), stream.eof


def _bz2(stored: bytes, full_size: int) -> tuple[bytes, bool]:
    stream = bz2.BZ2Decompressor()
    try:
        data = stream.decompress(stored, full_size + 1)
    except (OSError, ValueError):
        return b"", False
    return data, stream.eof
