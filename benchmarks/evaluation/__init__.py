"""How fast the evaluation is beside the field's own, on one workload: `make bench-eval`.

This module and `__main__` load nothing large: it would count in the peak memory of every peer.
"""

TRUTH, RESULTS = "truth.json", "results.json"
TRUE_TAGS, PREDICTED_TAGS = "true_tags.parquet", "predicted_tags.parquet"
DETECTIONS_AN_IMAGE = 300
