"""Every photo of a folder to a coloured point cloud in metres: OUT/PHOTO.ply, for any 3D viewer.

    .venv/bin/python examples/folder_to_ply.py photos/ clouds/ --fov-deg 60 --near-m 0.5 --far-m 10

A photo has no metres in it: they come from what you know of the scene, its nearest and farthest
distance, and are of the right order, no more. The field of view decides the cloud's shape.
"""

from argparse import ArgumentParser, RawTextHelpFormatter
from pathlib import Path

from ppd_core import DepthPipeline, Intrinsics, alignment_from_range, read_image, write_ply

parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
parser.add_argument("folder", type=Path, metavar="FOLDER")
parser.add_argument("out", type=Path, metavar="OUT")
parser.add_argument("--fov-deg", type=float, default=60.0, help="horizontal field of view")
parser.add_argument("--near-m", type=float, default=0.5, help="the nearest thing's distance")
parser.add_argument("--far-m", type=float, default=10.0, help="the farthest thing's distance")
parser.add_argument("--model", default="nano")
args = parser.parse_args()

pipeline = DepthPipeline.from_pretrained(args.model)
metres = alignment_from_range(args.near_m, args.far_m)
args.out.mkdir(parents=True, exist_ok=True)
for path in sorted(path for path in args.folder.iterdir() if path.is_file()):
    try:
        image = read_image(path)
    except ValueError as error:  # No image, or a broken one: the others are still wanted.
        print(f"left out: {error}")
        continue
    height, width = image.shape[:2]
    camera = Intrinsics.from_fov(width, height, args.fov_deg)
    result = pipeline(image, intrinsics=camera, alignment=metres)
    count = write_ply(args.out / f"{path.name}.ply", result.points, result.colors)
    print(f"{path.name}: {count} points")
