"""Dask arrays and dataframes as aligned blocks of rows."""

import sys

import numpy as np


def is_dask(X):
    """Whether X is a Dask collection."""
    # whoever has one has imported Dask
    dask = sys.modules.get("dask")
    return dask is not None and dask.is_dask_collection(X)


def client_of_collections():
    """The client whose workers are to hold the rows."""
    from distributed import get_client

    try:
        return get_client()
    except ValueError as error:
        raise ValueError(
            "X is a Dask collection, and a fit on one needs workers: make a client first, e.g. "
            "client = dask.distributed.Client()."
        ) from error


def as_blocks(name, values, rows=None):
    """A collection as a Dask array in blocks of whole rows.

    Parameters
    ----------
    name : str
        Of the parameter, for errors.
    values : Dask array, dataframe or series; or array-like
    rows : tuple of int, default=None
        Numbers of rows of the blocks; those of the collection where None.

    Returns
    -------
    dask.array.Array
    """
    import dask.array as da

    if hasattr(values, "to_dask_array"):
        values = values.to_dask_array(lengths=True)
    elif not is_dask(values):
        if rows is None:
            raise TypeError(f"{name} must be a Dask array or dataframe, got {type(values)}.")
        values = np.asarray(values)
        _check_length(name, len(values), sum(rows))
        return da.from_array(values, chunks=(rows, *values.shape[1:]))
    if any(np.isnan(size) for size in values.shape):
        values = values.compute_chunk_sizes()
    if values.ndim > 2 or (rows is None and values.ndim != 2):
        raise ValueError(f"{name} must be a 2-D array, got {values.ndim} dimensions.")
    if rows is None:
        rows = tuple(size for size in values.chunks[0] if size > 0)
        if not rows:
            raise ValueError(f"{name} must not be empty: it has no rows.")
    _check_length(name, values.shape[0], sum(rows))
    return values.rechunk((rows, *values.shape[1:]))


def _check_length(name, length, n_rows):
    if length != n_rows:
        raise ValueError(f"{name} must have as many rows as X: got {length} and {n_rows}.")
