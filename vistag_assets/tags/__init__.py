"""Late fusion: the scores of all sources to one calibrated probability an image and concept, the final tags."""
