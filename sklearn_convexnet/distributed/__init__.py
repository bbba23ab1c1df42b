r"""Fits on Dask collections: passes over shards of rows that stay on the workers.

Neurons of one output descend on a sample, then on all rows; ADMM over their patterns certifies them
and closes the gap. Over random patterns, drawn on the sample, ADMM does it all. Several outputs
that share a hidden layer are fitted by the search for shared neurons.

Every block of rows is held by an actor, with its part of the state of ADMM. An iteration sends the
network, or the blocks of 2 d P numbers, to every actor and gets as many numbers back; a certificate
costs some more passes.

A worker that is lost takes with it the state of its rows, not the iterates: an actor is made anew,
on another worker, from its block of the collection, begins at these iterates, and the method
goes on. ADMM converges from any state, and what is certified is computed anew after a loss. Of
neurons the rows keep only what they were told, and that is told again.
"""

from .collections import is_dask, map_rows, without_rows
from .fit import Distributed

__all__ = ["Distributed", "is_dask", "map_rows", "without_rows"]
