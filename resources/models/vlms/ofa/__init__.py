"""OFA, whose weights are published for a fork of transformers 4 and for fairseq, and are read here as they are."""
