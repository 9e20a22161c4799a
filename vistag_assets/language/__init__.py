"""Text about regions and images: region captions, routing between a fast and a heavy model, descriptions."""
