"""The assets from ground truth and tags to the long-tail report, and the check that guards them; a module each."""
