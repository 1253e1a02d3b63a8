"""Depth samples: WebDataset shards, and the published data sets on disk."""
