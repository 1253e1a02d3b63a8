"""Frames into a Rerun recording, one after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ppd_core.types import Intrinsics
from ppd_core.view import blueprint as at
from ppd_core.view.blueprint import Parts, layout
from ppd_core.view.cloud import cloud_of
from ppd_core.view.depth_colors import CLASSES, depth_range, followed_range, holes_of
from ppd_core.view.frame import ShownAlignment, ViewFrame

if TYPE_CHECKING:
    import rerun as rr

_CLOCKS_BEGIN_NS = 10**9 * 86400 * 365 * 30
"""Stamps before the year 2000 are of a clock that began at 0: a simulation's, a video's."""
_JPEG_QUALITY = 90
_POINT_RADIUS_PX = 1.5
_STATE_COLORS = {
    "constant": (120, 144, 156),
    "fitted": (102, 187, 106),
    "tied": (38, 166, 154),
    "held": (255, 167, 38),
    "lost": (239, 83, 80),
    "none": (97, 97, 97),
    "waiting": (158, 158, 158),
}
_SERIES = {
    "scale": ("scale", (66, 165, 245)),
    "shift": ("shift (log-metres)", (255, 167, 38)),
    "inlier_ratio": ("inlier ratio", (102, 187, 106)),
    "rmse_m": ("RMSE (m)", (239, 83, 80)),
}
"""Number of an alignment -> its name and colour in a plot."""


class Scene:
    """What a viewer shows, and the layout of its window, which follows what frames bring.

    Args:
        recording: the frames are logged to it.
        max_points: how many points of a cloud are shown at most.

    Attributes:
        frame_count: how many frames were logged, each in one part or more.
        logged_bytes: size of their images, depths and clouds.
    """

    def __init__(self, recording: rr.RecordingStream, *, max_points: int) -> None:
        import rerun as rr

        self._rr = rr
        self._recording = recording
        self._max_points = max_points
        self._parts = Parts()
        self._range: tuple[float, float] | None = None
        self._shown_camera: Intrinsics | None = None
        self._last_index = -1
        self.frame_count = 0
        self.logged_bytes = 0
        recording.set_log_time_enabled(False)
        recording.set_log_tick_enabled(False)
        self._log_what_never_changes()

    def log(self, frame: ViewFrame) -> None:
        """Show a frame.

        Raises:
            ValueError: sizes in it do not fit together.
        """
        cloud = cloud_of(frame, self._max_points)
        parts = self._grown(frame, cloud is not None)
        self._set_time(frame)
        self._log_images(frame)
        if frame.intrinsics is not None:
            self._log_camera(frame.intrinsics, parts.distance)
        if frame.world_from_camera is not None:
            self._log_place(frame.world_from_camera)
        if cloud is not None:
            self._log_cloud(*cloud)
        if frame.alignment is not None:
            self._log_alignment(frame.alignment)
        for name, value in frame.latencies_ms.items():
            self._log_number(f"{at.LATENCY}/{name.replace(' ', '_')}", value)
        for note in frame.notes:
            self._recording.log(at.LOG, self._rr.TextLog(note, level="INFO"))
        self.frame_count += frame.index > self._last_index
        self._last_index = max(self._last_index, frame.index)
        if parts != self._parts:
            self._parts = parts
            self._recording.send_blueprint(layout(parts))

    def _log_what_never_changes(self) -> None:
        rr = self._rr

        def log(path: str, *what: Any) -> None:
            self._recording.log(path, *what, static=True)

        log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP)  # REP 103
        log(at.CAMERA, rr.ViewCoordinates.RDF)
        classes = [(number, *of_class) for number, of_class in CLASSES.items()]
        log(at.PINHOLE, rr.AnnotationContext(classes))
        for name, (title, color) in _SERIES.items():
            log(f"{at.ALIGNMENT}/{name}", rr.SeriesLines(colors=[color], names=[title]))
        states = {"values": list(_STATE_COLORS), "colors": list(_STATE_COLORS.values())}
        log(at.STATE, rr.StateConfiguration(**states))

    def _grown(self, frame: ViewFrame, has_cloud: bool) -> Parts:
        """What there is to show with this frame, too."""
        parts, alignment = self._parts, frame.alignment or ShownAlignment("")
        distance = parts.distance
        if not parts.has_depth and frame.depth is not None:
            distance = _distance(frame) or distance
        return replace(
            parts,
            has_image=parts.has_image or frame.image is not None,
            has_depth=parts.has_depth or frame.depth is not None,
            has_sensor=parts.has_sensor or frame.sensor_depth is not None,
            has_confidence=parts.has_confidence or frame.confidence is not None,
            has_cloud=parts.has_cloud or has_cloud,
            place=parts.place or _rows(frame.world_from_camera),
            has_fit=parts.has_fit or alignment.state in ("fitted", "tied", "held", "lost"),
            has_latency=parts.has_latency or bool(frame.latencies_ms),
            is_metric=frame.is_metric if frame.depth is not None else parts.is_metric,
            has_stamps=parts.has_stamps or frame.stamp_ns is not None,
            distance=distance,
        )

    def _set_time(self, frame: ViewFrame) -> None:
        self._recording.set_time(at.FRAME, sequence=frame.index)
        if frame.stamp_ns is None:
            self._recording.disable_timeline(at.STAMP)
        elif frame.stamp_ns >= _CLOCKS_BEGIN_NS:
            self._recording.set_time(at.STAMP, timestamp=np.datetime64(frame.stamp_ns, "ns"))
        else:
            self._recording.set_time(at.STAMP, duration=np.timedelta64(frame.stamp_ns, "ns"))

    def _log_images(self, frame: ViewFrame) -> None:
        if frame.image is not None:
            bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            self.logged_bytes += jpeg.nbytes
            image = self._rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg")
            self._recording.log(at.IMAGE, image)
        # The sensor's colours are those of the depth, so that equal colours are equal metres.
        ranged = frame.sensor_depth if frame.depth is None else frame.depth
        now = None if ranged is None else depth_range(ranged)
        if now is not None:
            self._range = followed_range(self._range, now)
        if frame.depth is not None:
            self._log_depth(at.DEPTH, frame.depth)
        if frame.sensor_depth is not None:
            self._log_depth(at.SENSOR, frame.sensor_depth)
        if frame.confidence is not None:
            grey = np.round(255 * frame.confidence).astype(np.uint8)
            self.logged_bytes += grey.nbytes
            self._recording.log(at.CONFIDENCE, self._rr.Image(grey, color_model="L"))

    def _log_depth(self, path: str, depth: np.ndarray) -> None:
        rr = self._rr
        self.logged_bytes += depth.nbytes
        # From far to near: the colours of previews and of ~/depth/image_color, near is warm.
        colors = None if self._range is None else self._range[::-1]
        image = rr.DepthImage(depth, meter=1.0, colormap="turbo", depth_range=colors)
        self._recording.log(path, image)
        holes, at_holes = holes_of(depth), f"{path}/{at.HOLES}"
        if holes is None:
            self._recording.log(at_holes, rr.Clear(recursive=False))
        else:
            self._recording.log(at_holes, rr.SegmentationImage(holes, opacity=1.0, draw_order=1.0))

    def _log_camera(self, camera: Intrinsics, distance: float) -> None:
        if camera == self._shown_camera:
            return
        self._shown_camera = camera
        # Rerun counts from a pixel's corner, we from the centre of the first one.
        pinhole = self._rr.Pinhole(
            focal_length=(camera.fx, camera.fy),
            principal_point=(camera.cx + 0.5, camera.cy + 0.5),
            width=camera.width,
            height=camera.height,
            camera_xyz=self._rr.ViewCoordinates.RDF,
            image_plane_distance=0.25 * distance,
        )
        self._recording.log(at.PINHOLE, pinhole)

    def _log_place(self, world_from_camera: np.ndarray) -> None:
        place = self._rr.Transform3D(
            mat3x3=world_from_camera[:3, :3], translation=world_from_camera[:3, 3]
        )
        self._recording.log(at.CAMERA, place)

    def _log_cloud(self, points: np.ndarray, colors: np.ndarray | None) -> None:
        rr = self._rr
        self.logged_bytes += points.nbytes + len(points) * 4
        radius = rr.Radius.ui_points(_POINT_RADIUS_PX)
        self._recording.log(at.CLOUD, rr.Points3D(points, colors=colors, radii=radius))

    def _log_alignment(self, alignment: ShownAlignment) -> None:
        for name in _SERIES:
            self._log_number(f"{at.ALIGNMENT}/{name}", getattr(alignment, name))
        self._recording.log(at.STATE, self._rr.StateChange(state=alignment.state))
        if alignment.failure:
            level = "ERROR" if alignment.state == "lost" else "WARN"
            text = f"{alignment.state}: {alignment.failure}"
            self._recording.log(at.LOG, self._rr.TextLog(text, level=level))

    def _log_number(self, path: str, value: float) -> None:
        if math.isfinite(value):
            self._recording.log(path, self._rr.Scalars(value))


def _distance(frame: ViewFrame) -> float | None:
    """Median depth of a cloud's points, > 0; None where there are none."""
    from ppd_core.types import RELATIVE_CLOUD_OFFSET

    assert frame.depth is not None
    z = frame.depth[np.isfinite(frame.depth)]
    if not z.size:
        return None
    median = float(np.median(z)) + (0.0 if frame.is_metric else RELATIVE_CLOUD_OFFSET)
    return median if median > 0 else None


def _rows(matrix: np.ndarray | None) -> tuple[tuple[float, ...], ...]:
    return () if matrix is None else tuple(map(tuple, matrix.tolist()))
