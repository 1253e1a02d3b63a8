"""A live picture of frames, on Rerun."""
