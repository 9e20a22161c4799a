"""What is known of a whole image: embeddings, tag scores, text, depth, captions."""
