"""A simulated RGB-D camera: procedural MuJoCo scenes, exact depth, and a real sensor's faults.

Needs the optional package mujoco (`pip install "ppd_ros[sim]"`), so nothing outside this folder
imports it at module level.
"""
