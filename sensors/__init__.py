"""Sensors that start runs on folders that arrive or change; they come with the operations work."""
