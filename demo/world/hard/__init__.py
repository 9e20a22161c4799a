"""A second, harder museum that no bundled model was trained on: other outlines, materials and marks, under other names."""
