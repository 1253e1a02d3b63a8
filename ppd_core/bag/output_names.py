"""What can be written of a recording's frames, where, and into which files."""

from __future__ import annotations

from collections.abc import Mapping

OUTPUTS: Mapping[str, str] = {
    "depth": "depth/image",
    "depth_mm": "depth/image_raw",
    "camera_info": "depth/camera_info",
    "confidence": "depth/confidence",
    "preview": "depth/image_color",
    "points": "points",
    "rgb": "rgb/image",
    "alignment": "alignment",
    "diagnostics": "/diagnostics",
}
"""What can be written -> its topic below the namespace, as the node has them."""
DEFAULT_OUTPUTS = ("depth", "camera_info", "points", "alignment", "diagnostics")
SUFFIXES: Mapping[str, str] = {"mcap": ".mcap", "sqlite3": ".db3", "ros1": ".bag"}
"""Storage of a written recording -> suffix of its data files; the first is the default."""
COMPRESSIONS = ("none", "zstd")
"""Of MCAP's chunks; the first is the default."""
NEEDS_CAMERA = ("camera_info", "points")
