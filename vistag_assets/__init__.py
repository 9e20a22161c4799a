"""The asset graph: a room for each of its groups, the code location, and the command line that runs it."""
