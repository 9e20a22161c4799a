"""The Dagster instance of a home: its processes, run launcher, storage, and the verification of the whole."""
