"""Fitted networks as perceptrons of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer

from ..core.network import TwoLayerReLU
from .fitted import fitted_network


def to_mlp(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Convert a fitted estimator to a multi-layer perceptron of scikit-learn.

    Parameters
    ----------
    estimator : object
        Fitted estimator of this package, but no autoencoder.

    Returns
    -------
    MLPClassifier or MLPRegressor
        With the same predictions and probabilities, but for classes with separate hidden layers,
        where the perceptron has a softmax and our classifiers normalise logistic functions, and
        for regressors outside `output_range_`, which a perceptron does not know: clip its
        predictions, or fit with ``output_range=None``, for the same everywhere. Its
        ``partial_fit`` goes on training from the network; a constant one gets a neuron for that,
        of output weight zero.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import ConvexReLURegressor
    >>> from sklearn_convexnet.export import to_mlp
    >>> X, y = make_friedman1(n_samples=50, random_state=0)
    >>> model = ConvexReLURegressor(random_state=0).fit(X, y)
    >>> bool(abs(to_mlp(model).predict(X) - model.predict(X)).max() < 1e-12)
    True
    """
    network, classes = fitted_network(estimator)
    if network.n_neurons == 0:
        network = _with_a_neuron(network)
    make = MLPRegressor if classes is None else MLPClassifier
    mlp = make(hidden_layer_sizes=(network.n_neurons,), random_state=0)
    mlp.coefs_ = [network.hidden_weights.copy(), network.output_weights.copy()]
    mlp.intercepts_ = [network.hidden_biases.copy(), network.output_biases.copy()]
    mlp.n_features_in_ = estimator.n_features_in_
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_
    mlp.n_layers_, mlp.n_outputs_ = 3, len(network.output_biases)
    mlp.out_activation_ = "identity"
    if classes is not None:
        mlp.classes_, multilabel = classes, estimator.outputs_2d_
        # as a perceptron has learned them
        labels = np.eye(len(classes), dtype=int) if multilabel else classes
        mlp._label_binarizer = LabelBinarizer().fit(labels)
        mlp.out_activation_ = "logistic" if multilabel or len(classes) == 2 else "softmax"
    # the state of a training that is about to start
    mlp.n_iter_, mlp.t_, mlp._no_improvement_count = 0, 0, 0
    mlp.loss_, mlp.best_loss_, mlp.loss_curve_ = np.inf, np.inf, []
    mlp.validation_scores_, mlp.best_validation_score_ = None, None
    return mlp


def _with_a_neuron(network):
    """The same constant as a network of one neuron, which has no effect yet."""
    n_features, n_outputs = len(network.hidden_weights), len(network.output_biases)
    # the bias makes it active: of zeros only, its gradient would be zero for ever
    return TwoLayerReLU(
        np.zeros((n_features, 1)), np.ones(1), np.zeros((1, n_outputs)), network.output_biases
    )
