"""Sensors and schedules: runs for folders that arrive or change, evaluations that are due, nightly and weekly jobs."""
