"""Dask arrays and dataframes as aligned blocks of rows."""

import sys

import numpy as np
import scipy.sparse


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


def as_blocks(name, values, rows=None, *, labels=False):
    """A collection as a Dask array in blocks of whole rows.

    Parameters
    ----------
    name : str
        Of the parameter, for errors.
    values : Dask array, dataframe or series; or array-like
    rows : tuple of int, default=None
        Numbers of rows of the blocks; those of the collection where None.
    labels : bool, default=False
        Whether values need not be numbers.

    Returns
    -------
    dask.array.Array
    """
    import dask.array as da

    if not is_dask(values):
        if rows is None:
            raise TypeError(f"{name} must be a Dask array or dataframe, got {type(values)}.")
        values = np.asarray(values)
    elif scipy.sparse.issparse(values._meta):
        raise TypeError(
            f"{name} must have dense arrays as blocks, got {type(values._meta).__name__}: convert "
            f"them, e.g. with {name}.map_blocks(lambda block: block.toarray())."
        )
    if not labels:
        _check_numbers(name, values)
    if hasattr(values, "to_dask_array"):
        values = values.to_dask_array(lengths=True)
    if any(np.isnan(size) for size in values.shape):
        values = values.compute_chunk_sizes()
    if values.ndim not in (1, 2) or (rows is None and values.ndim != 2):
        expected = "2-D" if rows is None else "1-D or 2-D"
        raise ValueError(f"{name} must be a {expected} array, got {values.ndim} dimensions.")
    if rows is None:
        rows = tuple(size for size in values.chunks[0] if size > 0)
        if not rows:
            raise ValueError(f"{name} must not be empty: it has no rows.")
    if len(values) != sum(rows):
        raise ValueError(f"{name} must have as many rows as X: got {len(values)} and {sum(rows)}.")
    chunks = rows, *values.shape[1:]
    return values.rechunk(chunks) if is_dask(values) else da.from_array(values, chunks=chunks)


def without_rows(X):
    """What knows the number of features of a Dask collection, and their names if it has some.

    Raises
    ------
    TypeError
        If X is no Dask array or dataframe.
    ValueError
        If X is not two-dimensional.
    """
    # a delayed object has any attribute
    if not isinstance(getattr(X, "ndim", None), int):
        raise TypeError(f"X must be a Dask array or dataframe, got {type(X)}.")
    if X.ndim != 2:
        raise ValueError(f"X must be a 2-D array, got {X.ndim} dimensions.")
    return X._meta if hasattr(X, "columns") else np.empty((0, X.shape[1]))


def map_rows(function, X):
    """What a function of rows returns, as a Dask array in the blocks of X; nothing is computed.

    Parameters
    ----------
    function : callable
        Called with arrays of shape (n, n_features), returns an array with n rows.
    X : Dask array or dataframe of shape (n_samples, n_features)

    Returns
    -------
    dask.array.Array
    """
    if hasattr(X, "to_dask_array"):
        X = X.to_dask_array()
    width = X.shape[1]
    nothing = function(np.zeros((1, width), X.dtype))[:0]
    columns = nothing.shape[1:]
    return X.rechunk({1: width}).map_blocks(
        _of_rows,
        function,
        nothing,
        drop_axis=1,
        new_axis=1 if columns else None,
        chunks=(X.chunks[0], *columns),
        meta=nothing,
    )


def _of_rows(block, function, nothing):
    """What a function returns for a block, which may be empty."""
    return function(block) if block.shape[0] else nothing


def _check_numbers(name, values):
    """Raise a ValueError for what a cast to float64 would change, or fail at on a worker."""
    # columns of several types are one array of objects
    is_frame = values.ndim == 2 and hasattr(values, "dtypes")
    dtypes = values.dtypes if is_frame else [values.dtype]
    for dtype in dtypes:
        if dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, got the dtype {dtype}.")
