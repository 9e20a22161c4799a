"""Every `make bench-*`: figures that anyone can run again."""
