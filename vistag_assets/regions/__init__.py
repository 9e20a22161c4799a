"""Grounding: candidate phrases to boxes, their masks, region embeddings and the match of each with its phrase."""
