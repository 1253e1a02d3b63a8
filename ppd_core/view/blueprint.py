"""Where in the viewer's window everything is: entities, and the views that show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import rerun.blueprint as rrb

CAMERA = "world/camera"
"""The optical frame: x right, y down, z forward."""
PINHOLE = f"{CAMERA}/pinhole"
CLOUD = f"{CAMERA}/cloud"
IMAGE = f"{PINHOLE}/image"
DEPTH = f"{PINHOLE}/depth"
SENSOR = f"{PINHOLE}/sensor"
CONFIDENCE = f"{PINHOLE}/confidence"
HOLES = "holes"
"""Below a depth image: where it has no value."""
ALIGNMENT = "alignment"
STATE = f"{ALIGNMENT}/state"
LATENCY = "latency"
LOG = "log"
STAMP = "stamp"
"""Timeline of header stamps."""
FRAME = "frame"
"""Timeline of frame numbers."""

FIT = ("scale", "shift")
QUALITY = ("inlier_ratio", "rmse_m")


_BACKGROUND = (20, 22, 26)


@dataclass(frozen=True)
class Parts:
    """What there is to show; it grows as frames come.

    Args:
        has_image, has_depth, has_sensor, has_confidence, has_cloud: of the camera.
        place: rows of the (4, 4) that takes points of the camera to the world, when the first was
            known; empty before.
        has_fit: metres are measured, well or badly.
        has_latency: how long something took.
        is_metric: depth is in metres.
        has_stamps: frames have times.
        distance: median depth, by which the eye is placed, in the unit of the cloud.
    """

    has_image: bool = False
    has_depth: bool = False
    has_sensor: bool = False
    has_confidence: bool = False
    has_cloud: bool = False
    place: tuple[tuple[float, ...], ...] = ()
    has_fit: bool = False
    has_latency: bool = False
    is_metric: bool = True
    has_stamps: bool = False
    distance: float = 1.0


def layout(parts: Parts) -> rrb.Blueprint:
    """Images left, clouds right, plots below."""
    import rerun.blueprint as rrb

    rows: list[rrb.Container] = [_above(parts)]
    below = _below(parts)
    if below:
        rows.append(rrb.Horizontal(*below))
    return rrb.Blueprint(
        rrb.Vertical(*rows, row_shares=[2.3, 1][: len(rows)]),
        rrb.TimePanel(
            state="collapsed",
            timeline=STAMP if parts.has_stamps else FRAME,
            play_state="following",
        ),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        auto_views=False,
    )


def _above(parts: Parts) -> rrb.Container:
    import rerun.blueprint as rrb

    unit = "metres" if parts.is_metric else "relative, no unit"
    images = []
    if parts.has_image:
        images.append(rrb.Spatial2DView(origin=IMAGE, name="Image"))
    if parts.has_depth:
        images.append(rrb.Spatial2DView(origin=DEPTH, name=f"Depth ({unit})"))
    if parts.has_sensor:
        images.append(rrb.Spatial2DView(origin=SENSOR, name="Sensor depth (metres)"))
    if parts.has_confidence:
        images.append(rrb.Spatial2DView(origin=CONFIDENCE, name="Confidence (white: sure)"))
    clouds = [_cloud_view(parts)] if parts.has_cloud else []
    if parts.place:
        clouds.append(_world_view(parts))
    columns: list[rrb.Container] = [rrb.Vertical(*images)] if images else []
    if clouds:
        columns.append(rrb.Tabs(*clouds))
    share = {2: 1.9, 3: 2.4, 4: 2.8}.get(len(images), 1.2)
    return rrb.Horizontal(*columns, column_shares=[1, share][: len(columns)])


def _cloud_view(parts: Parts) -> rrb.Spatial3DView:
    """The cloud as the camera has it."""
    import rerun.blueprint as rrb

    position, target = _eye(parts.distance)
    return rrb.Spatial3DView(
        origin=CAMERA,
        contents=[CAMERA, PINHOLE, CLOUD],
        name="Cloud (camera frame)" if parts.is_metric else "Cloud (no unit)",
        background=_BACKGROUND,
        line_grid=False,
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=position,
            look_target=target,
            eye_up=(0.0, -1.0, 0.0),
        ),
    )


def _world_view(parts: Parts) -> rrb.Spatial3DView:
    """The cloud where the camera was, seen at first from the same side."""
    import rerun.blueprint as rrb

    place = np.array(parts.place)
    position, target = (
        place[:3, :3] @ point + place[:3, 3] for point in np.array(_eye(parts.distance))
    )
    return rrb.Spatial3DView(
        origin="world",
        contents=["world", CAMERA, PINHOLE, CLOUD],
        name="Cloud (world)",
        background=_BACKGROUND,
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=position,
            look_target=target,
            eye_up=(0.0, 0.0, 1.0),
        ),
    )


def _eye(distance: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """From where to where to look at a cloud, in the camera's frame.

    From behind the camera, to the left and above: what hangs between surfaces then shows.
    """
    far = distance
    return (-0.5 * far, -0.6 * far, -0.7 * far), (-0.05 * far, -0.12 * far, far)


def _below(parts: Parts) -> list[rrb.View | rrb.Container]:
    import rerun.blueprint as rrb

    def plot(name: str, paths: list[str]) -> rrb.View:
        return rrb.TimeSeriesView(origin="/", contents=paths, name=name)

    views: list[rrb.View | rrb.Container] = []
    if parts.has_fit:
        views.append(plot("Scale and shift", [f"{ALIGNMENT}/{name}" for name in FIT]))
        views.append(plot("Inliers and RMSE", [f"{ALIGNMENT}/{name}" for name in QUALITY]))
    if parts.has_latency:
        views.append(plot("Latency (ms)", [f"{LATENCY}/**"]))
    if parts.has_fit:
        state = rrb.StateTimelineView(origin=STATE, name="State of the metres")
        views.append(rrb.Vertical(state, _log_view(), row_shares=[1, 1.2]))
    elif views:
        views.append(_log_view())
    return views


def _log_view() -> rrb.TextLogView:
    import rerun.blueprint as rrb

    columns = rrb.TextLogColumns(text_log_columns=["LogLevel", "Body"], timeline_columns=[FRAME])
    return rrb.TextLogView(origin=LOG, name="Log", columns=columns)
