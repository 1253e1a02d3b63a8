"""An RGB-D camera's frame with its holes filled: the sensor's metres, the model's borders.

    .venv/bin/python examples/refine_rgbd.py color.png depth.png --fov-deg 69

DEPTH.png is 16-bit, 0 = hole, and registered to COLOR.png: of a RealSense what `rs.align` gives,
by `cv2.imwrite`. The viewer's and rs-convert's PNGs are coloured, and no metres can be read from
them. Writes DEPTH_refined.png (millimetres) and DEPTH_refined.ply (metres).
"""

import sys
from argparse import ArgumentParser, RawTextHelpFormatter
from pathlib import Path

import numpy as np

import ppd_core as ppd

parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
parser.add_argument("color", metavar="COLOR.png")
parser.add_argument("depth", type=Path, metavar="DEPTH.png")
parser.add_argument("--unit-m", type=float, default=0.001, help="of DEPTH.png, in metres")
parser.add_argument("--fov-deg", type=float, default=69.0, help="COLOR's, from left to right")
parser.add_argument("--model", default="nano")
args = parser.parse_args()

image = ppd.read_image(args.color)
sensor = ppd.read_depth_png16(args.depth, metres_per_unit=args.unit_m)  # metres, NaN = hole
if sensor.shape != image.shape[:2]:
    sys.exit(f"DEPTH must have COLOR's size {image.shape[:2]}, got {sensor.shape}: see rs.align")
camera = ppd.Intrinsics.from_fov(image.shape[1], image.shape[0], args.fov_deg)
pipeline = ppd.DepthPipeline.from_pretrained(args.model)
result = pipeline(image, intrinsics=camera, alignment=ppd.alignment_from_depth(sensor))
if result.metric_depth is None:
    sys.exit(f"no metres: {result.alignment_failure}")
# The fit of one scale to the whole image; after it the local field corrects the surfaces.
fit, depth, is_hole = result.alignment, result.metric_depth.cpu().numpy(), np.isnan(sensor)
print(f"scale {fit.scale:.3f}, {fit.inlier_ratio:.0%} inliers, RMSE {fit.rmse_m:.3f} m")
filled_share = (is_hole & np.isfinite(depth)).mean()
print(f"{is_hole.mean():.1%} of the pixels were holes, {filled_share:.1%} have depth now")
out = args.depth.with_name(f"{args.depth.stem}_refined.png")
ppd.write_depth_png16(out, depth, is_metric=True)
ppd.write_ply(out.with_suffix(".ply"), result.points, result.colors)
