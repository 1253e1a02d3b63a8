"""The viewing ray of each pixel, lens distortion included, and camera calibration files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.types import Intrinsics

MAX_RESIDUAL_PX = 1e-2
"""A ray that does not come back to its pixel this closely is not a ray of the lens."""

KEPT_CAMERAS = 16
"""Of so many the tables are kept: those of one that is not cost far more than a frame may."""

_BAND_PIXELS = 1 << 14  # cv2.projectPoints writes 30 numbers of Jacobian a point: stay in cache
_ITERATIONS = 100
_PIXEL_TOLERANCE = 1e-8


def ray_table(intrinsics: Intrinsics, device: str | torch.device = "cpu") -> Tensor:
    """The direction that each pixel centre looks along.

    Without distortion `x = (u - cx) / fx` and `y = (v - cy) / fy` for u = 0 .. W - 1; with it,
    the x and y whose distorted projection is the pixel centre.

    The last few tables are kept, so that a camera pays for its own once: do not write into it.

    Args:
        intrinsics: of the H x W image.
        device: where the table shall be.

    Returns:
        (H, W, 3) float32, x right, y down, z = 1; all three NaN where the lens model has no such
        ray: it does not reach the pixel, or only beyond the radius where it folds back over
        itself.

    Source: REP 103 (axes); cv2.projectPoints and cv2.fisheye.projectPoints (lens models).
    """
    return _cached_table(intrinsics, str(torch.device(device)))


@lru_cache(maxsize=KEPT_CAMERAS)
def _cached_table(intrinsics: Intrinsics, device: str) -> Tensor:
    height, width = intrinsics.height, intrinsics.width
    table = np.ones((height, width, 3), np.float32)
    if intrinsics.is_distorted:
        band = max(1, _BAND_PIXELS // width)
        for top in range(0, height, band):
            rows = np.arange(top, min(top + band, height), dtype=np.float64)
            table[top : top + band, :, :2] = _undistorted_rows(intrinsics, rows)
        # So that whatever is multiplied by a ray need not be checked for one.
        table[np.isnan(table[..., 0]), 2] = np.nan
    else:
        table[..., 0] = (np.arange(width) - intrinsics.cx) / intrinsics.fx
        table[..., 1] = ((np.arange(height) - intrinsics.cy) / intrinsics.fy)[:, None]
    with torch.inference_mode(False):  # Others, who may want gradients, get this very tensor.
        return torch.from_numpy(table).to(device)


def project_points(points: Tensor, intrinsics: Intrinsics) -> Tensor:
    """Where points appear in the image, lens distortion included; the inverse of `ray_table`.

    Args:
        points: (N, 3) float32 in the optical frame, x right, y down, z forward > 0.
        intrinsics: of the image.

    Returns:
        (N, 2) float32, column and row in pixels, whole numbers at pixel centres; NaN where the
        lens model folds back over itself. Not clipped to the image.

    Source: cv2.projectPoints and cv2.fisheye.projectPoints (lens models).
    """
    xy = points[:, :2] / points[:, 2:]
    if not intrinsics.is_distorted:
        focal = xy.new_tensor([intrinsics.fx, intrinsics.fy])
        return xy * focal + xy.new_tensor([intrinsics.cx, intrinsics.cy])
    if not len(xy):
        return xy
    ideal = xy.cpu().numpy().astype(np.float64)
    coefficients = np.array(intrinsics.distortion, np.float64)
    pixels = _project(intrinsics, ideal[:, None], coefficients)[:, 0]
    is_ray = np.linalg.norm(ideal, axis=-1) < _fold_radius(intrinsics)
    pixels = np.where(is_ray[:, None], pixels, np.nan).astype(np.float32)
    return torch.from_numpy(pixels).to(points.device)


def _undistorted_rows(intrinsics: Intrinsics, rows: np.ndarray) -> np.ndarray:
    """x and y of the rays of some image rows, (rows, W, 2) float64, NaN where there is none."""
    import cv2

    columns = np.arange(intrinsics.width, dtype=np.float64)
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 1, 2)
    matrix = _camera_matrix(intrinsics)
    coefficients = np.array(intrinsics.distortion, np.float64)
    # Both inverses are iterative, and the default of 5 steps is off by pixels in wide lenses.
    criteria = (
        cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS,
        _ITERATIONS,
        _PIXEL_TOLERANCE,
    )
    if intrinsics.distortion_model == "equidistant":
        # Before OpenCV 4.6 (Ubuntu 22.04 has 4.5.4) the fisheye takes ten steps and no criteria.
        choice: Any = {} if _opencv_version() < (4, 6) else {"criteria": criteria}
        xy = cv2.fisheye.undistortPoints(pixels, matrix, coefficients, **choice)
    else:
        # OpenCV 5 gave the criteria to the plain function.
        invert: Any = getattr(cv2, "undistortPointsIter", None) or cv2.undistortPoints
        same = np.eye(3)
        xy = invert(pixels, matrix, coefficients, R=same, P=same, criteria=criteria)
    residual_px = np.linalg.norm(_project(intrinsics, xy, coefficients) - pixels, axis=-1)
    radius = np.linalg.norm(xy, axis=-1)
    is_ray = (residual_px <= MAX_RESIDUAL_PX) & (radius < _fold_radius(intrinsics))
    return np.where(is_ray[..., None], xy, np.nan).reshape(len(rows), intrinsics.width, 2)


def _opencv_version() -> tuple[int, ...]:
    import cv2

    return tuple(int(part) for part in cv2.__version__.split(".")[:2])


def _camera_matrix(intrinsics: Intrinsics) -> np.ndarray:
    return np.array(
        [[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1]],
        np.float64,
    )


def _project(intrinsics: Intrinsics, xy: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Pixels of the points (x, y, 1), through the lens; (N, 1, 2) to (N, 1, 2)."""
    import cv2

    points = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)
    is_fisheye = intrinsics.distortion_model == "equidistant"
    project = cv2.fisheye.projectPoints if is_fisheye else cv2.projectPoints
    unmoved = np.zeros(3)
    return project(points, unmoved, unmoved, _camera_matrix(intrinsics), coefficients)[0]


@lru_cache(maxsize=KEPT_CAMERAS)
def _fold_radius(intrinsics: Intrinsics) -> float:
    """The ideal radius where the lens polynomial stops growing, or infinity.

    A polynomial that turns down and up again sends several rays to one pixel; all but the
    innermost are an artefact, and a round trip cannot tell.
    """
    radial = np.array(intrinsics.distortion, np.float64)
    if intrinsics.distortion_model != "equidistant":
        radial[2:4] = 0  # tangential
        radial[8:] = 0  # thin prism and tilt
    radius = np.tan(np.linspace(0, np.radians(89.5), 4096))
    line = np.stack([radius, np.zeros_like(radius)], axis=-1)[:, None]
    distorted = _project(intrinsics, line, radial)[:, 0, 0]
    falls = np.flatnonzero(~(np.diff(distorted) > 0))
    return float(radius[falls[0]]) if len(falls) else float("inf")


def read_camera_yaml(path: str | Path) -> Intrinsics:
    """Read a calibration file as `camera_calibration` and `camera_info_manager` write it.

    Args:
        path: a YAML file with image_width, image_height, camera_matrix and, for a lens with
            distortion, distortion_coefficients and distortion_model (plumb_bob where it is
            missing).

    Returns:
        The raw camera, as `ppd_core.camera_info.intrinsics_from_info` reads it.

    Raises:
        ValueError: the file cannot be read, or a field is missing or unusable; the message names
            the file and the field.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ValueError(f"cannot read camera file {path}: {reason}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"camera file {path} is not valid YAML: {reason}") from error
    if not isinstance(content, Mapping):
        raise ValueError(
            f"camera file {path} must hold named fields, got {type(content).__name__}"
        )
    try:
        return _intrinsics_from_fields(content)
    except ValueError as error:
        raise ValueError(f"camera file {path}: {error}") from error


def _intrinsics_from_fields(fields: Mapping[str, Any]) -> Intrinsics:
    width, height = (_positive_integer(fields, f"image_{side}") for side in ("width", "height"))
    model = str(fields.get("distortion_model") or "")
    has_coefficients = model not in ("", "none") or "distortion_coefficients" in fields
    # Read as the message that camera_info_manager would make of the file.
    info = SimpleNamespace(
        width=width,
        height=height,
        k=_numbers(fields, "camera_matrix", 9),
        p=_numbers(fields, "projection_matrix", 12) if "projection_matrix" in fields else [0] * 12,
        distortion_model=model,
        d=_numbers(fields, "distortion_coefficients") if has_coefficients else (),
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(width=0, height=0),
    )
    return intrinsics_from_info(info, width, height)


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise ValueError(f"field {name} is missing")
    return fields[name]


def _positive_integer(fields: Mapping[str, Any], name: str) -> int:
    value = _required(fields, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
    return value


def _numbers(fields: Mapping[str, Any], name: str, count: int | None = None) -> tuple[float, ...]:
    """The numbers of a matrix field, which is written {rows, cols, data: [...]}."""
    value = _required(fields, name)
    data = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(data, list):
        raise ValueError(f"{name} must have a list of numbers under data, got {data!r}")
    if count not in (None, len(data)):
        raise ValueError(f"{name} must have {count} numbers, got {len(data)}")
    try:
        return tuple(float(number) for number in data)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {data!r}") from None
