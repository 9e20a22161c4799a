"""Sensors that start runs on folders that arrive or change."""
