"""The ways in which a pipeline's networks are run."""
