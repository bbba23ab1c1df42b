"""Fitted networks as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array
from ..core.network import TwoLayerReLU
from .fitted import fitted_network


def to_dict(estimator: Any) -> dict[str, Array]:
    """Convert a fitted estimator to a dictionary of arrays.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder.

    Returns
    -------
    dict
        With ``hidden_weights`` of shape (n_features, n_neurons), ``hidden_biases`` of shape
        (n_neurons,), ``output_weights`` of shape (n_neurons, n_outputs), ``output_biases`` of
        shape (n_outputs,): outputs are
        ``maximum(X @ hidden_weights + hidden_biases, 0) @ output_weights + output_biases``. Also
        ``classes`` of a classifier, or ``output_range`` of a regressor, of shape (2, n_outputs):
        predictions are ``clip(outputs, *output_range)``.
        ``numpy.savez(file, **to_dict(model))`` stores it; lists of it, `array.tolist()`, are ready
        for JSON, and floats are read back from there exactly.
    """
    network, classes = fitted_network(estimator)
    arrays = {name: np.array(getattr(network, name)) for name in TwoLayerReLU.__dataclass_fields__}
    if classes is None:
        return {**arrays, "output_range": np.array(estimator.output_range_)}
    return {**arrays, "classes": np.array(classes)}
