"""The kernel: a tree of state machines and the rules by which an execution moves. Pure.

No clock, chance, ids, logging, I/O or event loop: time and chance come in as arguments, and what
has to be done goes out as values. The runtime commits the changes, and only then acts.
"""
