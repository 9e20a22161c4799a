"""The commands of vistag, a file a purpose. What is slow to import is imported inside them."""
