"""What grows with a library, and what does not: change, unit costs, the scheduler."""
