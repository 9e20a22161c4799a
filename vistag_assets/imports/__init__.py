"""Decisions that people made in other programs, on their way into the log."""
