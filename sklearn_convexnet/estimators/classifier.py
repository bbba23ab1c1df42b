"""Convex ReLU classification."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from scipy.sparse import issparse
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from .._compat import StrOptions, available_if, check_sample_weight, fit_context
from .._typing import (
    Array,
    ArrayLike,
    ClassificationLoss,
    FloatArray,
    HiddenLayer,
    Patterns,
    Seed,
    Solver,
)
from ..core.canonical import scaled_weights
from ..core.losses import CLASSIFICATION_LOSSES, Loss, get_loss
from ..distributed import is_dask
from ..proof.certificate import Certificate
from ._base import BaseConvexReLU
from ._dask import DaskFitMixin, DaskScoreMixin, by_blocks


def _is_logistic(estimator):
    if get_loss(estimator.loss).name != "log_loss":
        raise AttributeError(
            f"{type(estimator).__name__} has predict_proba and predict_log_proba with "
            f"loss='log_loss' only, got loss={estimator.loss!r}: other losses do not estimate "
            "probabilities."
        )
    return True


class BaseConvexReLUClassifier(DaskScoreMixin, ClassifierMixin, BaseConvexReLU):
    """What classifiers share: labels, their weights, an output for each, predictions."""

    _parameter_constraints = {
        **BaseConvexReLU._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES)), Loss],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    classes_: Array
    out_activation_: str

    # whether y may hold several labels, a column each; whether it did
    _accepts_multilabel = False
    outputs_2d_: bool = False

    @property
    def _exclusive(self):
        return not self.outputs_2d_

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data; `RobustConvexReLUClassifier` makes a dense copy of sparse ones.
            `ConvexReLUClassifier` leaves the rows of a Dask array or dataframe on the workers of
            its client.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels; for `ConvexReLUClassifier` also several labels of 0 and 1, a column each.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples; a weight of two is a sample that occurs twice.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if self._accepts_dask and is_dask(X):
            return self._fit_on_dask(X, y, sample_weight, self._on_dask)
        X, y, weights, classes = self._validate(X, y, sample_weight)
        signs, multilabel = class_signs(y, classes), y.ndim == 2
        kind = {"outputs_2d_": multilabel} if self._accepts_multilabel else {}
        options = self._options(exclusive=not multilabel)
        return self._fit_network(
            X,
            y,
            signs,
            weights,
            options,
            classes_=classes,
            out_activation_=out_activation(
                options.loss, softmax=options.is_softmax(signs.shape[1])
            ),
            **kind,
        )

    @by_blocks
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the outputs of the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Of a Dask collection the answer is a Dask array.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one number, positive for ``classes_[1]``; else one per class or label.
            Of float32 X they are rounded to float32, and may be equal where `predict` sees more.
        """
        scores, dtype = self._scores(X)
        return scores.astype(dtype, copy=False)

    def _scores(self, X):
        """What `decision_function` returns, in float64, and the dtype in which it does."""
        outputs, dtype = self._outputs(X)
        one = len(self.classes_) == 2 and not self.outputs_2d_
        return (outputs[:, 0] if one else outputs), dtype

    @by_blocks
    def predict(self, X: ArrayLike) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Of a Dask collection the answer is a Dask array.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels of the largest output, in float64 whatever the dtype of X; of several labels 1
            where the output is positive, else 0.
        """
        scores, _ = self._scores(X)
        if self.outputs_2d_:
            return (scores > 0).astype(int)
        if scores.ndim == 1:
            return self.classes_[(scores > 0).astype(int)]
        return self.classes_[np.argmax(scores, axis=1)]

    @available_if(_is_logistic)
    @by_blocks
    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Predict class probabilities; only with ``loss="log_loss"``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Of a Dask collection the answer is a Dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            For two classes the logistic function of the output; for more the softmax of the
            outputs or, with separate hidden layers, their logistic functions, normalised. Of
            several labels the logistic function of each output.
        """
        logs, dtype = self._log_probabilities(X)
        return np.exp(logs).astype(dtype, copy=False)

    @available_if(_is_logistic)
    @by_blocks
    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Predict logarithms of class probabilities; only with ``loss="log_loss"``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Of a Dask collection the answer is a Dask array.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Of the probabilities of `predict_proba`; finite where these vanish.
        """
        logs, dtype = self._log_probabilities(X)
        # where `predict_proba` rounds to one
        logs = np.where(logs > -0.5 * np.finfo(dtype).epsneg, 0.0, logs)
        return logs.astype(dtype, copy=False)

    def _log_probabilities(self, X):
        """Logarithms of probabilities, in float64, and the dtype in which they are returned."""
        scores, dtype = self._scores(X)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        elif self.out_activation_ == "softmax":
            return log_softmax(scores, axis=1), dtype
        logs = -np.logaddexp(0, -scores)
        alone = scores.shape[1] != self.n_outputs_ or self.outputs_2d_
        return (logs if alone else log_softmax(logs, axis=1)), dtype

    def _validate(self, X, y, sample_weight):
        """Validated training data, the weights of its samples, and the classes."""
        self._loss()
        X, y = self._validate_data(X, y, multi_output=self._accepts_multilabel)
        if issparse(y):
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if y.ndim == 2:
            return X, *self._validate_labels(X, y, sample_weight)
        self._check_class_weight(np.unique(y))
        weights = self._weights(sample_weight, X, y)
        classes = np.unique(y[weights > 0])
        self._check_classes(classes)
        return X, y, weights, classes

    def _validate_labels(self, X, y, sample_weight):
        """Several labels, the weights of the samples, and the numbers of the labels."""
        self._check_labels(y, y.shape)
        weights = scaled_weights(check_sample_weight(sample_weight, X))
        return (y > 0).astype(int), weights, np.arange(y.shape[1])

    def _check_labels(self, values, shape):
        """Raise a ValueError where the values of several labels are not 0 and 1."""
        if type_of_target(values) != "multilabel-indicator":
            raise ValueError(
                "y must hold class labels, or 0 and 1 in a column for each of several labels; got "
                f"{type_of_target(values)} targets of shape {shape}."
            )
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight must be None for several labels, got {self.class_weight!r}."
            )

    def _weights(self, sample_weight, X, y):
        """Weights of the samples times those of their classes."""
        weights = scaled_weights(check_sample_weight(sample_weight, X))
        if self.class_weight is None:
            return weights
        labels = np.unique(y[weights > 0])
        totals = [weights[y == label].sum() for label in labels]
        for label, factor in zip(labels, self._class_factors(labels, totals), strict=True):
            weights[y == label] *= factor
        return scaled_weights(weights)

    def _class_factors(self, labels, totals):
        """What the weights of the samples of each class are multiplied by."""
        if self.class_weight == "balanced":
            # counts samples by their weight, as repeated samples would be counted
            return np.sum(totals) / (len(labels) * np.array(totals))
        given = self.class_weight or {}
        return np.array([given.get(label, 1.0) for label in labels])

    def _on_dask(self, y, weights):
        """Targets and weights as Dask arrays; finds the classes."""
        import dask

        y = y.reshape((len(y),)) if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim == 2:
            return self._labels_on_dask(y), weights
        blocks = zip(y.to_delayed().ravel(), weights.to_delayed().ravel(), strict=True)
        found = dask.compute([dask.delayed(_label_totals)(*block) for block in blocks])[0]
        labels = np.concatenate([each for each, _ in found])
        totals = np.concatenate([each for _, each in found])
        classes, places = np.unique(labels, return_inverse=True)
        assert_all_finite(classes, input_name="y")
        check_labels(classes)
        self._check_class_weight(classes)
        totals = np.bincount(places, weights=totals)
        factors = self._class_factors(classes[totals > 0], totals[totals > 0])
        classes = classes[totals > 0][factors > 0]
        self._check_classes(classes)
        factors = factors[factors > 0]
        n_outputs = class_signs(classes[:1], classes).shape[1]
        self._set_kind(classes, False, n_outputs)
        signs = y.map_blocks(
            class_signs, classes, dtype=np.float64, chunks=(y.chunks[0], (n_outputs,)), new_axis=1
        )
        return signs, weights * y.map_blocks(_factors_of, classes, factors, dtype=np.float64)

    def _labels_on_dask(self, y):
        """Several labels as a Dask array of targets."""
        import dask

        found = dask.compute([dask.delayed(_few_values)(block) for block in y.to_delayed().ravel()])
        values = np.unique(np.concatenate(found[0]))
        assert_all_finite(values, input_name="y")
        self._check_labels(np.stack([values, values], axis=1), y.shape)
        self._set_kind(np.arange(y.shape[1]), True, y.shape[1])
        return y.map_blocks(class_signs, None, dtype=np.float64)

    def _set_kind(self, classes, multilabel, n_outputs):
        """Set what a fit on Dask collections has found out of its targets."""
        self.classes_, self.outputs_2d_ = classes, multilabel
        softmax = self._options().is_softmax(n_outputs)
        self.out_activation_ = out_activation(self._loss(), softmax=softmax)

    def _check_classes(self, classes):
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least two classes of positive weight, "
                f"got {'1 class' if len(classes) else 'no class'}: {classes.tolist()}."
            )

    def _check_class_weight(self, labels):
        if not isinstance(self.class_weight, dict):
            return
        for value in self.class_weight.values():
            if not (isinstance(value, Real) and 0 <= value < np.inf):
                raise ValueError(
                    f"class_weight must hold finite numbers >= 0, got {self.class_weight!r}."
                )
        labels = labels.tolist()
        unknown = [key for key in self.class_weight if key not in labels]
        # weights of more classes than there are do no harm
        if unknown and not all(label in self.class_weight for label in labels):
            raise ValueError(
                f"class_weight must have labels of y as keys, got {unknown} for labels {labels}."
            )

    def _loss(self):
        loss = get_loss(self.loss)
        if loss.target != "sign":
            raise ValueError(f"loss must be a loss for classification, got {self.loss!r}.")
        return loss


class ConvexReLUClassifier(DaskFitMixin, BaseConvexReLUClassifier):
    r"""Two-layer ReLU network for classification, trained by convex optimisation.

    With labels :math:`y_k = \pm 1`, the network
    :math:`f(x) = \sum_j (x^\top u_j + b_j)_+ a_j + c` minimises

    .. math::

        \sum_k \omega_k \phi(y_k f(x_k))
            + \frac{\alpha}{2} \sum_j \Big(\sum_f \frac{u_{jf}^2}{s_f^2} + b_j^2 + \|a_j\|^2\Big)

    through an equivalent convex program over activation patterns of the data (Pilanci & Ergen [1]_;
    Bai, Gautam & Sojoudi [2]_): no learning rate, and a duality gap that says how far the network
    is from the optimum of that program. The sample weights
    :math:`\omega_k` sum to one. More than two classes have an output each, which share the neurons;
    the logistic loss is then the softmax cross-entropy :math:`\log \sum_c e^{f_c(x_k)} -
    f_{y_k}(x_k)`. See `hidden_layer`.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, > 0. It multiplies a penalty on the hidden weights and biases
        and on the output weights; the output bias is free. The loss is a mean, so the same
        `alpha` means the same at any number of samples. "auto": chosen by the loss on samples left
        out, see Notes.

    loss : {"log_loss", "hinge", "squared_hinge"} or Loss instance, default="log_loss"
        Loss of a margin m: ``log(1 + exp(-m))``, ``max(0, 1 - m)`` or
        ``max(0, 1 - m)**2 / 2``.

    patterns : {"adaptive", "random", "all"} or array-like of bool, default="adaptive"
        Activation patterns that the neurons may have on the training data. "adaptive": found by
        descent from random ones and by pricing, which adds the neurons that the dual variables ask
        for. "random": of `n_patterns` Gaussian directions in standardised feature space. "all": all
        there are, which makes the fit globally optimal; possible for few features or few samples.
        An array of shape (n_samples, n_patterns): these.

    n_patterns : int, default=100
        Number of random patterns, of the random directions that "scp" keeps, or of the neurons
        from which adaptive patterns start.

    solver : {"admm", "admm-cholesky", "admm-rbcd", "scp"}, default="admm"
        "admm": Kronecker-diagonalised ADMM polished by an interior point; any loss.
        "admm-cholesky" (squared loss, so never here) and "admm-rbcd" (losses without kinks): the
        two steps of [2]_, as baselines. "scp": their sampled convex program, in which the hidden
        layer is fixed: to the random directions, or with adaptive patterns to the neurons that the
        descent has found, whose own network is kept if it is better.

    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Of more than two classes, or of several labels. "shared": one network whose neurons serve
        all outputs, fitted to the softmax cross-entropy (logistic loss and classes) or to the sum
        of the losses of one against the rest. "separate": every output has neurons of its own and
        is fitted alone. "auto": "shared" where that is defined, for adaptive patterns with "admm"
        and for "scp"; the convex program over patterns has one output. On Dask collections, too.

    feature_weights : "auto", array-like of shape (n_features,) or None, default="auto"
        Weights :math:`s_f \ge 0` of the features in the penalty, in which the hidden weights
        :math:`u_{jf}` are divided by them: the network is that of the features :math:`s_f x_f`, and
        a feature of weight 0 is left out. None: ones. "auto": with ``alpha="auto"`` chosen along
        with it, where few features matter, see Notes; ones where `alpha` is a number, and where
        several outputs do not share their neurons.

    monotonic_cst : array-like of int of shape (n_features,) or dict, default=None
        Features with which the output may only increase, 1, or only decrease, -1; 0: it may do
        both. A dict has them by the names of features, and may leave those of 0 out, as in
        `sklearn.ensemble.HistGradientBoostingRegressor`. Guaranteed for all X: no neuron has
        weights against it. Of a classifier it is about the second of two classes. Only for one
        output, adaptive patterns and "admm"; the gap and what is proved are about such networks.

    fit_intercept : bool, default=True
        Whether neurons have (penalised) biases and the output a (free) one.

    tol : float, default=None
        Relative duality gap to reach in the convex program over the patterns. With adaptive
        patterns the objective itself is usually far more accurate, because most of the gap comes
        from the lower bound. Of a shared hidden layer it is the gap to the optimum over all
        networks, as a search for missing neurons finds it. None: 0.05, but with adaptive patterns
        only as far as the proof costs about as much as the descent to the network: `dual_gap_`
        says how far that was, and no warning does. A number is pursued by all means, which may
        take minutes where the penalty is small.

    max_iter : int, default=10000
        Bound on the iterations of the solver, and of the descent.

    warm_start : bool, default=False
        Whether `fit` starts from the last network, or for random patterns from the last solution
        over the same patterns.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with the sample weights.

    random_state : int, RandomState instance or None, default=None
        Seed of the random patterns and of the search for better ones. Pass an int for reproducible
        results.

    n_jobs : int or None, default=None
        Number of separate outputs fitted at the same time, by joblib. The result does not depend
        on it.

    verbose : bool or int, default=False
        Whether to print a line per check of the duality gap.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; of several labels their columns.

    out_activation_ : {"logistic", "softmax", "identity"}
        What makes probabilities of the outputs, as in `sklearn.neural_network.MLPClassifier`:
        "softmax" for classes that share the hidden layer, "logistic" for each output alone, and
        "identity" for losses without probabilities.

    outputs_2d_ : bool
        Whether y held several labels, a column each.

    network_ : TwoLayerReLU
        The fitted network; its outputs are those of `decision_function`.

    alpha_ : float or ndarray of shape (n_outputs,)
        Strength of the weight decay; an array when "auto" chose several.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs), as in `sklearn.neural_network.MLPClassifier`.

    intercepts_ : list of two ndarray
        Hidden biases of shape (n_neurons,) and output biases of shape (n_outputs,).

    objective_ : float
        Training objective of `network_`, summed over the outputs.

    lower_bound_ : float
        Lower bound on the optimum of the convex program that was solved, summed over the outputs.
        Of a shared hidden layer with adaptive patterns: on the optimum over all networks, if the
        search of the fit has missed no neuron; with `monotonic_cst` over those that keep to it.

    dual_gap_ : float
        Relative gap between a feasible point of that program and its lower bound; the largest
        of the outputs. Of a shared hidden layer with adaptive patterns, and with `monotonic_cst`:
        between `objective_` and `lower_bound_`.

    certificate_ : Certificate
        What is known about `objective_` against all networks, or with separate hidden layers all
        whose outputs share no neuron, or all that keep to `monotonic_cst`; see `certificate`.

    n_iter_ : int
        Iterations of the descent and of the solver together; the largest of the outputs.

    n_neurons_ : int
        Number of hidden neurons.

    n_outputs_ : int
        Number of outputs: 1 for two classes, else the number of classes.

    feature_weights_ : ndarray of shape (n_features,)
        Weights of the features in the penalty.

    feature_importances_ : ndarray of shape (n_features,)
        Share of every feature in the mean squared slopes of the network times the variances of the
        features, on the training data; of a linear network of independent features its share in the
        variance of the outputs. Zeros for a constant network.

    patterns_ : ndarray of bool of shape (n_samples, n_patterns)
        Patterns of the convex program on the training data, or of the neurons that outputs share or
        that keep to `monotonic_cst`; with adaptive patterns of separate outputs one output after
        the other. Not set by a fit on Dask collections.

    history_ : list of dict
        One entry per check: "output", "iteration", "phase", "upper_bound", "lower_bound", "gap"
        and "time" in seconds.

    loss_curve_ : ndarray of shape (n_checks,)
        The least objective known at every check: that of the network in a descent, of the convex
        program afterwards. Of separate outputs their sum, check by check; one that is through
        stays what it is.

    communication_ : dict
        Only after a fit on Dask collections: number of blocks of rows "n_blocks", passes over them
        "n_passes", bytes "sent" and "received", and blocks "n_lost" with their workers.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    ConvexReLURegressor : The same for regression.

    Notes
    -----
    ``alpha="auto"`` departs from the formula

    .. math:: \alpha = \min\Big(\frac{0.02\, d}{\sqrt{n}}, 0.2\Big)\;
        \mathrm{rms}(X)\; \mathrm{rms}(\ell'(c, y))

    with n distinct samples, the d features that are not constant, centred, and the slopes of the
    loss at the best constant c. Ten factors on it, from 8 to 1/64, are compared by the loss on
    samples left out: of five folds up to 300 distinct samples, of three up to 3000; of more, at
    most 3000 train and 6000 judge. Samples of equal features stay together. On every split networks
    descend from one penalty to the next, and nothing is certified. Of the factors whose loss is
    within a quarter of a standard error of the least, the one nearest to 1 is taken, for every
    output that is fitted alone. With fewer than 20 samples of distinct features, or fewer members
    of a class than folds, the formula decides. The order of samples, and whether equal ones are
    repeated or weighted, make no difference; a fit with the
    number `alpha_`, the weights `feature_weights_` and the same seed gives the same network.

    ``feature_weights="auto"`` looks at the importances :math:`I_f`, as in `feature_importances_`,
    to the networks that the samples left out prefer. Where their participation ratio
    :math:`1 / (d \sum_f I_f^2)` is at most a third, networks with the weights
    :math:`s_f^2 \propto I_f / \mathrm{Var}(x_f)` are compared with those without, on every fold
    with the weights that its own training samples ask for (a step of a recursive feature machine
    [3]_, and of an adaptive lasso [4]_). If they are better by more than a standard error, the
    weights are those that all samples ask for, and once more those that these networks ask for, if
    that is better still. They keep :math:`\sum_f s_f^2 \mathrm{Var}(x_f)`, and no importance counts
    for less than :math:`10^{-5}` times the largest. Objective, bounds and certificates are those of
    the penalty with these weights.

    References
    ----------
    .. [1] M. Pilanci and T. Ergen, "Neural Networks are Convex Regularizers", ICML 2020,
       arXiv:2002.10553.
    .. [2] Y. Bai, T. Gautam and S. Sojoudi, "Efficient Global Optimization of Two-Layer ReLU
       Networks: Quadratic-Time Algorithms and Adversarial Training", SIAM Journal on Mathematics
       of Data Science 5(2), 2023, arXiv:2201.01965.
    .. [3] A. Radhakrishnan, D. Beaglehole, P. Pandit and M. Belkin, "Mechanism for feature learning
       in neural networks and backpropagation-free machine learning models", Science 383, 2024.
    .. [4] H. Zou, "The Adaptive Lasso and Its Oracle Properties", Journal of the American
       Statistical Association 101, 2006.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> X, y = make_moons(n_samples=100, noise=0.1, random_state=0)
    >>> model = ConvexReLUClassifier(n_patterns=30, random_state=0).fit(X, y)
    >>> bool(model.dual_gap_ <= 0.05)
    True
    >>> model.predict(X[:2])
    array([0, 1])
    """

    _accepts_multilabel = True

    lower_bound_: float
    dual_gap_: float
    certificate_: Certificate

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # of several labels there are no classes to weight
        tags.classifier_tags.multi_label = self._accepts_multilabel and self.class_weight is None
        return tags

    def __init__(
        self,
        alpha: float | Literal["auto"] = "auto",
        *,
        loss: ClassificationLoss | Loss = "log_loss",
        patterns: Patterns | ArrayLike = "adaptive",
        n_patterns: int = 100,
        solver: Solver = "admm",
        hidden_layer: HiddenLayer = "auto",
        feature_weights: ArrayLike | Literal["auto"] | None = "auto",
        monotonic_cst: ArrayLike | dict[str, int] | None = None,
        fit_intercept: bool = True,
        tol: float | None = None,
        max_iter: int = 10_000,
        warm_start: bool = False,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        random_state: Seed = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.alpha = alpha
        self.loss = loss
        self.patterns = patterns
        self.n_patterns = n_patterns
        self.solver = solver
        self.hidden_layer = hidden_layer
        self.feature_weights = feature_weights
        self.monotonic_cst = monotonic_cst
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def certificate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        time_limit: float | None = None,
        tol: float = 1e-2,
    ) -> Certificate:
        """State what is known about the network's objective on the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data; on the training data this is `certificate_` (but for Dask collections).
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, as in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        time_limit : float, default=None
            Seconds to spend on a better certificate than that of the fit: dual variables by column
            generation, and a proof by branch and bound, whose work grows exponentially with the
            number of features.
        tol : float, default=0.01
            Relative gap at which a proof within a time limit is good enough.

        Returns
        -------
        Certificate
            Prints as sentences and carries the numbers. What was proved of the network of a fit
            on its data before is kept.
        """
        check_is_fitted(self, "network_")
        X, y = self._validate_data(X, y, reset=False, multi_output=self.outputs_2d_)
        if self.outputs_2d_:
            y, weights, _ = self._validate_labels(X, np.atleast_2d(y), sample_weight)
            return self._certify(X, class_signs(y, None), weights, time_limit, tol)
        weights = self._weights(sample_weight, X, y)
        unknown = np.setdiff1d(y[weights > 0], self.classes_)
        if unknown.size:
            raise ValueError(f"y holds labels not seen in fit: {unknown[:5].tolist()}.")
        return self._certify(X, class_signs(y, self.classes_), weights, time_limit, tol)


def out_activation(loss, *, softmax=False):
    """What makes probabilities of outputs, by the name that perceptrons have for it."""
    if loss.name != "log_loss":
        return "identity"
    return "softmax" if softmax else "logistic"


def check_labels(labels):
    """Raise a ValueError for what are no labels of classes, however few rows have each of them."""
    # thrice: a label to every row would look like a regression
    check_classification_targets(np.repeat(labels, 3))


def class_signs(y, classes):
    """Targets -1 and +1, a column per output; rows of a class not listed are -1 throughout."""
    if y.ndim == 2:
        return np.where(y > 0, 1.0, -1.0)
    positive = classes[1:] if len(classes) == 2 else classes
    return np.where(y[:, None] == positive[None, :], 1.0, -1.0)


def _label_totals(y, weights):
    """The labels of a block, and the sums of the weights of their rows."""
    labels, places = np.unique(y, return_inverse=True)
    return labels, np.bincount(places.ravel(), weights=weights, minlength=len(labels))


def _few_values(y):
    """The least values of a block: three tell that it does not hold two."""
    return np.unique(y)[:3]


def _factors_of(y, classes, factors):
    """The factor of the class of every label, 0 for one that is not a class."""
    places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    return np.where(classes[places] == y, factors[places], 0.0)
