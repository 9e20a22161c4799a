"""One module a peer: `load` the files, `evaluate` them with its defaults, and, off the clock, say the `recall`."""
