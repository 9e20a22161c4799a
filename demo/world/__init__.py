"""A seeded, procedural world of museum catalogue photographs with exact ground truth."""
