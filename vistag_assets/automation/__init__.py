"""What stands around the graph: the Dagster instance of a home, its processes, storage and checks of the whole."""
