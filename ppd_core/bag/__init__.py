"""Recordings of ROS, read and written without ROS."""
