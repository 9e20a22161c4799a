"""The review queue: which pairs of an image and a concept people are asked about, and what their answers amount to."""
