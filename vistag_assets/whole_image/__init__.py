"""Whole-image predictions: embeddings, zero-shot tag scores, captions, OCR, depth."""
