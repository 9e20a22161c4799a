"""Search at the size of a large collection, beside the field's: `make bench-search`."""
