"""Search: indexes over embeddings, queries of words and pictures, near-duplicates."""
