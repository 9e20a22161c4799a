"""BEiT-3's captioners, whose weights are published for the package torchscale, and are read here as they are."""
