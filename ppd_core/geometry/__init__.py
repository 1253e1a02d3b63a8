"""Cameras, rays, depth images and point clouds."""
