"""What was seen on the topics and found out about it, as an object and for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ppd_ros.recorder import Recorder


def summarize(
    recorder: Recorder,
    photos: Sequence[dict[str, Any]],
    note: str,
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What was seen on the topics, in one object; latencies go from stamp to arrival here.

    Args:
        recorder: what it has seen.
        photos: from `write_frame`.
        note: a line for the end.
        found: what else was found out and written: parts of the summary, by their names.
    """
    latencies_ms = {
        topic: [round(1e3 * float(p), 1) for p in np.percentile(values, (50, 95))]
        for topic, values in recorder.latencies_s.items()
    }
    return {
        "note": note,
        "images_received": recorder.num_images,
        "frames_complete": recorder.num_frames,
        "rate_hz": round(recorder.rate_hz, 2),
        "latency_p50_p95_ms": latencies_ms,
        "photos": list(photos),
        **(found or {}),
    }


def table(summary: dict[str, Any]) -> str:
    """The summary for the eye."""
    lines = [
        f"{summary['images_received']} images received, {summary['frames_complete']} frames with "
        f"depth, depth/camera_info and points: {summary['rate_hz']} frames/s",
        "latency p50/p95, stamp to arrival: "
        + ", ".join(
            f"{topic} {p50:.0f}/{p95:.0f} ms"
            for topic, (p50, p95) in summary["latency_p50_p95_ms"].items()
        ),
    ]
    if recording := summary.get("recording"):
        lines.append(
            f"{recording['frames']} frames, as they were on the topics, in "
            f"{recording['folder']}/: {recording['bytes'] / 1e6:.1f} MB"
        )
    if errors := summary.get("against_truth"):
        lines.append(_truth_line(errors))
    if four_views := summary.get("four_views"):
        lines += _view_lines(four_views)
    if summary["photos"]:
        lines.append(
            f"{'photo':<16} {'size':>9} {'points':>8}  metres at 2 %, 50 %, 98 % of pixels"
        )
    for row in summary["photos"]:
        metres = [row[f"depth_p{percent}_m"] for percent in (2, 50, 98)]
        lines.append(
            f"{row['photo']:<16} {row['width']:>4}x{row['height']:<4} {row['points']:>8} "
            + " ".join("     nan" if value is None else f"{value:>8.2f}" for value in metres)
        )
    return "\n".join([*lines, summary["note"]])


def _truth_line(errors: Mapping[str, Any]) -> str:
    count, lost = errors["frames"], errors["frames_without_metres"]
    without = f"; {lost} of {count} frames have no metres" if lost else ""
    if lost == count:
        return f"against the exact depth{without}"
    return (
        "against the exact depth, metres as they are, nothing fitted to it: "
        f"AbsRel {errors['absrel']:.4f}, RMSE {errors['rmse_m']:.3f} m, delta1 "
        f"{errors['delta1']:.4f} (mean of {count - lost} frames{without})"
    )


def _view_lines(four_views: Mapping[str, Any]) -> list[str]:
    lines = [f"{'the last frame, four ways':<36} AbsRel  in holes  RMSE m  flying  covers"]
    for row in four_views["views"]:
        if row.get("refusal"):
            lines.append(f"{row['title']:<36} NO METRES: {row['refusal']}")
            continue
        cells = (
            _cell(row["absrel"], 6, ".3f"),
            _cell(row["absrel_in_holes"], 9, ".3f"),
            _cell(row["rmse_m"], 7, ".3f"),
            _cell(row["flying_share"], 7, ".1%"),
            _cell(row["valid_share"], 7, ".1%"),
        )
        lines.append(" ".join([f"{row['title']:<36}", *cells]))
    if (difference := four_views["node_difference"]) is not None:
        lines.append(
            "the node's own depth of it, steadied over time, differs from the last of them by "
            f"{difference:.2%} (median)"
        )
    return lines


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'none' if value is None else format(value, form):>{width}}"
