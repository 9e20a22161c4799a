"""Pure functions from tables and arrays to figures: no Dagster, no torch, no lake."""
