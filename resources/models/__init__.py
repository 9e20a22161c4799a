"""Models: the registry of checkpoints, the tiers that name them, and a package for each role."""
