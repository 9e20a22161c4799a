"""What remedies for rare tags are worth: make bench-tail."""
