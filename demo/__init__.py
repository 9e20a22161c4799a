"""The demo: a procedural museum, the models trained on it, and the corpus that `make demo` runs."""
