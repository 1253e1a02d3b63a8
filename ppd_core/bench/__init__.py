"""How fast a pipeline is, and how near that is to what the hardware could."""
