r"""The network behind a fitted estimator, and what certifying it minimises.

The worst-case margin of a sample is the least of the numbers :math:`c^\top f(x)` over its ball,
with :math:`c = \pm 1` for two classes and :math:`c = e_y - e_j` for each other class j else; the
range of a regressor's outputs is two such minima, with :math:`c = \pm e_k`.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np
from scipy.special import expit

from ..core.network import TwoLayerReLU


@dataclass(frozen=True, eq=False)
class Model:
    """A two-layer network and, of a classifier, its classes.

    Parameters
    ----------
    network : TwoLayerReLU
    classes : ndarray of shape (n_classes,) or None
        None for a regressor.
    feature_names : ndarray of shape (n_features,) or None, default=None
        Those seen in fit, if any.
    dtype : dtype, default=float64
        The least accurate arithmetic in which ``predict`` finds the outputs.
    squashed : bool, default=False
        Whether ``predict`` compares probabilities, which are rounded, and not the outputs.
    limits : pair of ndarray of shape (n_outputs,), default=(-inf, inf)
        The least and the greatest predictions of a regressor.
    """

    network: TwoLayerReLU
    classes: np.ndarray | None
    feature_names: np.ndarray | None = None
    dtype: np.dtype | type = np.float64
    squashed: bool = False
    limits: np.ndarray | tuple[float, float] = (-np.inf, np.inf)

    @classmethod
    def of(cls, estimator):
        """The network of a fitted estimator.

        Parameters
        ----------
        estimator : object
            With an attribute ``network_``, or with ``coefs_``, ``intercepts_`` and ``activation``
            as those of scikit-learn's multi-layer perceptrons.

        Returns
        -------
        Model
        """
        name = type(estimator).__name__
        if isinstance(estimator, type):
            raise TypeError(f"estimator must be a fitted instance, got the class {estimator!r}.")
        for attribute in ("steps", "transformers"):
            if hasattr(estimator, attribute):
                raise TypeError(
                    f"estimator must be a network, got {name}: transform X by the steps before it, "
                    "and pass its last step; epsilon and bounds are then those of the transformed "
                    "features."
                )
        if hasattr(estimator, "best_estimator_"):
            raise TypeError(f"estimator must be a network, got {name}: pass its best_estimator_.")
        dtype, squashed = np.float64, False
        if hasattr(estimator, "network_"):
            network = estimator.network_
        elif hasattr(estimator, "coefs_") and hasattr(estimator, "intercepts_"):
            network = _perceptron(estimator, name)
            # of rows in float32 and weights in float32 the outputs are found in float32
            dtype = np.result_type(*estimator.coefs_, *estimator.intercepts_)
            squashed = getattr(estimator, "out_activation_", None) in ("logistic", "softmax")
        elif hasattr(estimator, "fit"):
            raise ValueError(
                f"estimator must be a fitted network with one hidden layer; {name} has neither "
                "network_ nor coefs_. Is it fitted?"
            )
        else:
            raise TypeError(
                f"estimator must be a fitted network with one hidden layer, got {estimator!r}."
            )
        classes = getattr(estimator, "classes_", None)
        if getattr(estimator, "outputs_2d_", False):
            raise ValueError(f"{name} must have one label per sample, it was fitted to many.")
        if classes is not None:
            n_outputs = 1 if len(classes) == 2 else len(classes)
            if len(network.output_biases) != n_outputs:
                raise ValueError(
                    f"{name} must have one output for two classes, or one for each class; it has "
                    f"{len(network.output_biases)} for {len(classes)} classes."
                )
        names = getattr(estimator, "feature_names_in_", None)
        limits = getattr(estimator, "output_range_", cls.limits)
        return cls(network, classes, names, dtype, squashed, limits)

    def check_rows(self, X):
        """Rows as a finite float64 matrix of the features that the network has."""
        if hasattr(X, "toarray"):
            raise TypeError("X must be dense, got a sparse matrix; use X.toarray().")
        self._check_names(list(getattr(X, "columns", ())))
        X = real_array("X", X)
        d = self.network.hidden_weights.shape[0]
        if X.ndim != 2 or X.shape[1] != d:
            raise ValueError(f"X must have shape (n_samples, {d}), got {X.shape}.")
        if not len(X):
            raise ValueError("X must have at least one row, got none.")
        if not np.isfinite(X).all():
            raise ValueError("X must be finite, got NaN or infinity.")
        return X

    def _check_names(self, names):
        """Raise where columns have other names than in fit; numbers are no names."""
        if self.feature_names is None or not any(isinstance(name, str) for name in names):
            return
        for name, fitted in zip_longest(names, self.feature_names):
            if name != fitted:
                raise ValueError(
                    "The feature names of X should match those that were passed during fit, in "
                    f"the same order: got {name!r} in place of {fitted!r}."
                )

    def check_labels(self, y, X):
        """Indices of the classes of labels, a label for every row."""
        if y is None:
            raise ValueError("y must be the labels of the rows of X, got None.")
        y = np.asarray(y)
        if y.shape != (len(X),):
            raise ValueError(f"y must have shape ({len(X)},) as X has rows, got {y.shape}.")
        unknown = np.setdiff1d(y, self.classes)
        if unknown.size:
            raise ValueError(f"y holds labels not seen in fit: {unknown[:5].tolist()}.")
        return np.searchsorted(self.classes, y)

    def predict(self, X):
        """Indices of the predicted classes."""
        return self.decide(self.network(X))

    def decide(self, outputs):
        """Indices of the classes that outputs stand for, as ``predict`` finds them."""
        if len(self.classes) == 2:
            score = expit(outputs[:, 0]) - 0.5 if self.squashed else outputs[:, 0]
            return (score > 0).astype(np.intp)
        if self.squashed:
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs.argmax(axis=1)

    @property
    def least_margin(self):
        """A margin of this size makes a difference of probabilities, rounded as they are.

        At a margin of 8 epsilons the logistic function is at least .5 (1 + 2 epsilons) before its
        last roundings, the smaller one of two probabilities at most 1 - 7 epsilons times the other;
        exponential, sum and quotient err by less than 4 epsilons together.
        """
        return 8.0 * float(np.finfo(self.dtype).eps) if self.squashed else 0.0

    def margin_directions(self, labels):
        r"""The directions c of which the worst-case margin is the least minimum.

        Parameters
        ----------
        labels : ndarray of int of shape (n,)
            Indices of the classes.

        Returns
        -------
        ndarray of shape (n, n_directions, n_outputs)
        """
        if len(self.classes) == 2:
            return (2.0 * labels - 1.0)[:, None, None]
        eye = np.eye(len(self.classes))
        others = np.array([np.delete(eye, k, axis=0) for k in range(len(eye))])
        return (eye[:, None] - others)[labels]

    @cached_property
    def pairs(self):
        """Neurons of opposite direction: indices (j, k) with u_k = -t u_j, b_k = -t b_j, t > 0.

        Up to 13 digits of the largest entry; `build_queries` allows for the rest. Where their
        output weights are of opposite sign, what they share is a linear function.

        Returns
        -------
        first, second : ndarray of int of shape (n_pairs,)
        ratios : ndarray of shape (n_pairs,)
            The t.
        """
        columns = np.concatenate([self.network.hidden_weights, self.network.hidden_biases[None]])
        sizes = np.abs(columns).max(axis=0, initial=0.0)
        used = np.flatnonzero(self.network.hidden_weights.any(axis=0))
        rounded = np.round(columns[:, used] / sizes[used], 13).T + 0.0  # no negative zeros
        places = {tuple(row): j for j, row in zip(used.tolist(), rounded, strict=True)}
        opposites = [
            (j, places[tuple(0.0 - row)])
            for j, row in zip(used.tolist(), rounded, strict=True)
            if tuple(0.0 - row) in places and places[tuple(row)] == j
        ]
        pairs = [pair for pair in opposites if pair[0] < pair[1]]
        first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
        return first, second, sizes[second] / sizes[first]


def real_array(name, values):
    """A parameter in float64, which would drop imaginary parts."""
    values = np.asarray(values)
    if np.iscomplexobj(values):
        raise ValueError(f"Complex data not supported: {name} must be real.")
    return np.asarray(values, dtype=np.float64)


def _perceptron(estimator, name):
    """The network of a multi-layer perceptron of scikit-learn."""
    if len(estimator.coefs_) != 2:
        raise ValueError(
            f"estimator must have one hidden layer, got {name} with {len(estimator.coefs_) - 1}."
        )
    if getattr(estimator, "activation", "relu") != "relu":
        raise ValueError(f"estimator must have activation='relu', got {estimator.activation!r}.")
    last = getattr(estimator, "out_activation_", None)
    if last == "logistic" and len(estimator.intercepts_[1]) != 1:
        raise ValueError(f"{name} must have one label per sample, it was fitted to many.")
    if last not in (None, "identity", "logistic", "softmax"):
        raise ValueError(f"estimator must not transform its outputs, got out_activation_={last!r}.")
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    hidden, output, biases, shift = (np.asarray(array, dtype=np.float64) for array in arrays)
    return TwoLayerReLU(hidden, biases, output, shift)
