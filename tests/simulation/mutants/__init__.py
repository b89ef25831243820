"""Proves that the simulation can see: deliberate bugs, each of which it has to find.

`catalogue` has them all, `search` finds seeds that show them, and `found.json` keeps these for the
tests. `make mutants` searches anew.

Two bugs are no mutants, because no history tells them from the product. A superseded command that
is sent all the same does nothing: what it asks for is dropped by whoever gets it. An answer of an
older run epoch finds its step ended, or another attempt out.
"""
