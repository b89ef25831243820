"""The runtime: the loops that carry out what the kernel decided, each in a file of its own."""
