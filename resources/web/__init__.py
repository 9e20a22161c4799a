"""What stands in front of whatever listens."""
