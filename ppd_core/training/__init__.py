"""What the model is trained towards."""
