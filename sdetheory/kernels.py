"""Kernels: from source text to a compiled module that later processes load from disk.

A *block* is a float64 array (rows, lanes): a row is a state component, a column a path. A `BlockFunction` works on blocks;
a `Program` is what the ensemble engine runs: the text of `advance`, which takes a block some steps further, and of one
function an observable. Text is written to a file named by the hash of everything it depends on, so Numba's cache is hit
by every later process and never stale.
"""
