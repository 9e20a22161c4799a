"""What stands in front of whatever listens, and how pages are made."""
