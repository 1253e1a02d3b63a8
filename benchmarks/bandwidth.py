"""How many bytes a message of each topic has: `python benchmarks/bandwidth.py --json FILE`.

Colour is photos: those in scikit-image's wheel, or `--photos`; a photo is not scaled but cut, and
mirrored at its borders where it is too small, so that it keeps its detail. Depth is nano's of
simulated scenes, fitted to their truth, for exact depth compresses better than any estimate; both
are measured. Bytes are those of the serialized message; what the network adds is not in them.
"""

from __future__ import annotations

import argparse
import array
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rclpy.serialization import serialize_message
from results_table import markdown_table, replace_between_markers
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from ppd_core import DepthPipeline
from ppd_core.bench.report import command, print_figures, write_report
from ppd_core.evaluation.metrics import apply_affine_log, fit_affine_log
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.image_files import read_image
from ppd_core.sim.camera import RgbdCamera, RgbdFrame
from ppd_core.sim.motion import MovingScene
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.compressed_depth import depth_to_compressed
from ppd_ros.conversions import (
    depth_to_image,
    depth_to_image_mm,
    points_to_cloud,
    rgb_to_image,
)
from ppd_ros.photo_publisher import photo_paths

SIZES = ((640, 480), (1024, 768))
RATES_HZ = (10, 30)
JPEG_QUALITIES = (80, 95)
SCENES = ((900_000_013, "table"), (900_000_014, "room"), (900_000_015, "shelf"))
HEADER = Header(frame_id="camera_color_optical_frame")
TOPICS = {
    "image": "raw camera image, rgb8",
    "jpeg95": "`<image topic>/compressed`, JPEG of quality 95",
    "jpeg80": "the same of quality 80",
    "camera_info": "`camera_info`, `/ppd/depth/camera_info`",
    "depth": "`/ppd/depth/image`, 32FC1",
    "depth_mm": "`/ppd/depth/image_raw`, 16UC1",
    "compressed_depth": "`/ppd/depth/image_raw/compressedDepth`",
    "compressed_truth": "the same of exact depth",
    "points": "`/ppd/points`",
}
"""Figure -> what it is."""


def cut_to(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of an (H, W, 3) image at another size, mirrored where it ends."""
    for axis, length in enumerate((height, width)):
        missing = length - image.shape[axis]
        if missing > 0:
            margins = [(0, 0)] * 3
            margins[axis] = (missing // 2, missing - missing // 2)
            image = np.pad(image, margins, mode="symmetric")
        start = (image.shape[axis] - length) // 2
        image = np.take(image, range(start, start + length), axis=axis)
    return image


def photo_bytes(photo: np.ndarray) -> Iterator[tuple[str, int]]:
    """Figure and bytes of what a camera sends."""
    yield "image", len(serialize_message(rgb_to_image(photo, HEADER)))
    bgr = np.ascontiguousarray(photo[..., ::-1])
    for quality in JPEG_QUALITIES:
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        message = CompressedImage(header=HEADER, format="rgb8; jpeg compressed bgr8")
        message.data = array.array("B", jpeg.tobytes())
        yield f"jpeg{quality}", len(serialize_message(message))


def depth_bytes(frame: RgbdFrame, depth: np.ndarray) -> Iterator[tuple[str, int]]:
    """Figure and bytes of what the node sends of (H, W) float32 metres."""
    points = backproject(torch.from_numpy(depth), ray_table(frame.intrinsics)).numpy()
    messages = {
        "camera_info": intrinsics_to_info(frame.intrinsics, HEADER),
        "depth": depth_to_image(depth, HEADER),
        "depth_mm": depth_to_image_mm(depth, HEADER),
        "compressed_depth": depth_to_compressed(depth, HEADER),
        "compressed_truth": depth_to_compressed(frame.depth, HEADER),
        "points": points_to_cloud(points, frame.image, HEADER),
    }
    for name, message in messages.items():
        yield name, len(serialize_message(message))


def estimated_depth(pipeline: DepthPipeline, frame: RgbdFrame) -> np.ndarray:
    """(H, W) float32, metres: the pipeline's depth, with the scale and shift of the truth."""
    relative = pipeline(frame.image).relative_depth[None]
    truth, valid_mask = torch.from_numpy(frame.depth), torch.from_numpy(frame.valid_mask)
    scale, shift = fit_affine_log(relative, truth[None], valid_mask[None])
    return apply_affine_log(relative, scale, shift)[0].numpy()


def measure(photos: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Bytes a message, the mean over photos or scenes: `bytes_FIGURE_WIDTHxHEIGHT`."""
    figures = {}
    pipeline = DepthPipeline.from_pretrained("nano", device="cpu")
    for width, height in sizes:
        counts: dict[str, list[int]] = defaultdict(list)
        for path in photos:
            for name, count in photo_bytes(cut_to(read_image(path), width, height)):
                counts[name].append(count)
        with RgbdCamera(width, height) as camera:
            for seed, kind in SCENES:
                moving = MovingScene(seed, kind)
                frame = camera.render(moving.scene, moving.move_to(1.0))
                for name, count in depth_bytes(frame, estimated_depth(pipeline, frame)):
                    counts[name].append(count)
        for name in TOPICS:
            figures[f"bytes_{name}_{width}x{height}"] = statistics.fmean(counts[name])
    return figures


def table(figures: Mapping[str, float]) -> str:
    """Kilobytes a message and megabits a second, a row a topic."""
    header = ["topic"]
    for width, height in SIZES:
        header += [f"{width} x {height}, kB", *(f"Mbit/s at {rate} Hz" for rate in RATES_HZ)]
    rows = []
    for name, what in TOPICS.items():
        row = [what]
        for width, height in SIZES:
            count = figures[f"bytes_{name}_{width}x{height}"]
            row += [_short(count / 1e3), *(_short(8 * count * rate / 1e6) for rate in RATES_HZ)]
        rows.append(row)
    return markdown_table(header, rows)


def _short(value: float) -> str:
    """Three digits, and more where there are more before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="fill in its table")
    options = parser.parse_args(args)
    figures = measure(options.photos or list(photo_paths().values()), SIZES)
    print_figures(figures)
    write_report(options.json, figures)
    if options.markdown:
        # Of the figures as they were rounded: the page then agrees with the file.
        written = json.loads(options.json.read_text())
        text = f"{table(written)}\n\nMade by `{command()}`."
        replace_between_markers(options.markdown, "bandwidth", text)


if __name__ == "__main__":
    main()
