"""What vistag knows, in the files that other programs read: a module a format, all from one reader of the lake."""
