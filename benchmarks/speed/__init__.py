"""What a run costs beside what its models cost alone, and beside what users would take instead."""
