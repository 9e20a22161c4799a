"""`make gpu-check`: what is said of GPUs, held against one card, with nothing downloaded."""
