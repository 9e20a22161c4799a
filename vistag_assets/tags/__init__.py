"""The final tags, fused from all that is known."""
