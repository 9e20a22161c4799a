"""Long-tail evaluation: ground truth against what was predicted, as metrics, report, assets and checks."""
