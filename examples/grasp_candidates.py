"""Where a parallel gripper may take the objects on a table from above: a sketch.

    .venv/bin/python examples/grasp_candidates.py cloud.ply

CLOUD.ply is in metres, in the camera's frame (x right, y down, z forward). The plane with the most
points in reach is taken for the table. Nothing is checked for collisions, what the camera does not
see is not there, and a flying pixel makes its object wider. CLOUD.ply.png shows the fingers.
"""

from argparse import ArgumentParser, RawTextHelpFormatter

import cv2
import numpy as np

from ppd_core import find_plane, read_ply, render_cloud, write_png

parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
parser.add_argument("cloud", metavar="CLOUD.ply")
parser.add_argument("--opening-m", type=float, default=0.085, help="the gripper's")
args = parser.parse_args()

points, colors = read_ply(args.cloud)
points[np.linalg.norm(points, axis=-1) > 1.5] = np.nan  # Out of reach.
table = find_plane(points, tolerance=0.006)
placed = table.coordinates(points)  # (N, 3): two along the table and the height over it
placed = placed[placed[:, 2] > 0.015]
# Seen from above, in cells of a centimetre: what touches there is one object, a few points none.
cells = tuple((placed[:, :2] / 0.01 + 300).astype(int).T)
plan = np.zeros((600, 600), np.float32)
np.add.at(plan, cells, 1)
count, labels = cv2.connectedComponents((plan >= 3).astype(np.uint8), connectivity=4)
for body in (placed[labels[cells] == label] for label in range(1, count)):
    a, b, c, _ = cv2.boxPoints(cv2.minAreaRect(body[:, :2].astype(np.float32)))
    half = np.append(min(b - a, c - b, key=np.linalg.norm) / 2, 0)  # across the smaller side
    width, top = 2 * np.linalg.norm(half), np.percentile(body[:, 2], 99)
    if len(body) >= 100 and width <= args.opening_m:
        middle, palm = np.append((a + c) / 2, top / 2), [0, 0, top / 2 + 0.05]
        centre, closing = table.points(middle).round(3), (half @ table.axes * 2 / width).round(3)
        print(f"at {centre} approach {-table.normal.round(3)} close {closing} from {width:.3f} m")
        hand = np.array([middle - half, middle - half + palm, middle + half + palm, middle + half])
        hand = table.points(np.linspace(hand[:-1], hand[1:], 400).reshape(-1, 3))
        points = np.vstack([points, hand])
        colors = np.vstack([colors, np.full(hand.shape, (0, 200, 0), np.uint8)])
write_png(f"{args.cloud}.png", render_cloud(points, colors, pitch_deg=-15))
