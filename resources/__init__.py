"""What assets stand on: tables of the lake, the home, images, models. Nothing here knows an asset or a metric."""
