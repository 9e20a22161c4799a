"""What is said of regions and images: region captions, lanes, descriptions."""
