"""Depth of one photo: PHOTO_depth.png to look at (near is red), PHOTO_depth.npy to work with.

    .venv/bin/python examples/one_photo.py photo.jpg

The numbers have no unit: small is near, about 0 to 1. `--model ppd-da2` takes the published
model (2 GB, fetched once), which has seen the world; nano has seen simulated rooms and tables.
"""

from argparse import ArgumentParser, RawTextHelpFormatter
from pathlib import Path

from ppd_core import DepthPipeline, depth_preview, read_image, write_depth_npy, write_png

parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
parser.add_argument("photo", type=Path, metavar="PHOTO")
parser.add_argument("--model", default="nano")
args = parser.parse_args()

image = read_image(args.photo)  # (H, W, 3) uint8 RGB
result = DepthPipeline.from_pretrained(args.model)(image)
depth = result.relative_depth.cpu().numpy()  # (H, W) float32

out = args.photo.with_name(f"{args.photo.stem}_depth.png")
write_png(out, depth_preview(depth))
write_depth_npy(out.with_suffix(".npy"), depth)
print(f"{out}: {depth.shape}, near {depth.min():.2f}, far {depth.max():.2f}")
