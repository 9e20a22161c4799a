"""Where things are: candidates, grounded regions, their masks, embeddings and matches."""
