"""Convex ReLU regression."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from .._compat import StrOptions, fit_context
from .._typing import (
    ArrayLike,
    FloatArray,
    HiddenLayer,
    OutputRange,
    Patterns,
    RegressionLoss,
    Seed,
    Solver,
)
from ..core.losses import REGRESSION_LOSSES, Loss, get_loss
from ..distributed import is_dask
from ..proof.certificate import Certificate
from ._base import BaseConvexReLU
from ._dask import DaskFitMixin, DaskScoreMixin, by_blocks
from ._output_range import RegressionOptions


class ConvexReLURegressor(
    DaskFitMixin, DaskScoreMixin, MultiOutputMixin, RegressorMixin, BaseConvexReLU
):
    r"""Two-layer ReLU network for regression, trained by convex optimisation.

    The network :math:`f(x) = \sum_j (x^\top u_j + b_j)_+ a_j + c` minimises

    .. math::

        \sum_k \omega_k \ell(f(x_k), y_k)
            + \frac{\alpha}{2} \sum_j \Big(\sum_f \frac{u_{jf}^2}{s_f^2} + b_j^2 + \|a_j\|^2\Big)

    through an equivalent convex program over activation patterns of the data (Pilanci & Ergen [1]_;
    Bai, Gautam & Sojoudi [2]_): no learning rate, and a duality gap that says how far the network
    is from the optimum of that program. The sample weights
    :math:`\omega_k` sum to one. Several targets share the neurons, and the loss is the sum over
    them; see `hidden_layer`.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, > 0. It multiplies a penalty on the hidden weights and biases
        and on the output weights; the output bias is free. The loss is a mean, so the same
        `alpha` means the same at any number of samples. "auto": chosen by the loss on samples left
        out, see Notes.

    loss : {"squared_error", "absolute_error", "huber", "quantile"} or Loss, default="squared_error"
        Loss of a prediction: half the squared error; the absolute error; `Huber` (with
        ``delta=1.35`` in units of the target); `Quantile` (the pinball loss, the median by
        default). Pass an instance such as ``Quantile(0.9)`` to set its parameter, which a search
        then calls "loss__quantile".

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
        "admm-cholesky" (squared loss) and "admm-rbcd" (losses without kinks): the two steps of
        [2]_, as baselines. "scp": their sampled convex program, in which the hidden layer is
        fixed: to the random directions, or with adaptive patterns to the neurons that the descent
        has found, whose own network is kept if it is better.

    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Of several targets. "shared": one network whose neurons serve all outputs, fitted to the
        sum of their losses. "separate": every output has neurons of its own and is fitted alone.
        "auto": "shared" where that is defined, for adaptive patterns with "admm" and for "scp"; the
        convex program over patterns has one output. On Dask collections, too.

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

    output_range : "training", None or (low, high), default="training"
        What `predict` limits every output to, by clipping: the range of the training targets of
        positive weight, nothing, or a range given as two numbers or arrays of shape (n_outputs,)
        with low < high, which may be infinite. Where features have heavy tails, or are nearly
        collinear, a network with a small penalty may extrapolate far beyond the targets. The
        network of an `alpha` is not changed by it, nor are `objective_` and `certificate_`, which
        are of the network without limits; "auto" chooses `alpha` by limited predictions.

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
    network_ : TwoLayerReLU
        The fitted network.

    alpha_ : float or ndarray of shape (n_outputs,)
        Strength of the weight decay; an array when "auto" chose several.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs), as in `sklearn.neural_network.MLPRegressor`.

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
        Number of outputs.

    feature_weights_ : ndarray of shape (n_features,)
        Weights of the features in the penalty.

    feature_importances_ : ndarray of shape (n_features,)
        Share of every feature in the mean squared slopes of the network times the variances of the
        features, on the training data; of a linear network of independent features its share in the
        variance of the outputs. Zeros for a constant network.

    output_range_ : ndarray of shape (2, n_outputs)
        The least and the greatest prediction of every output, infinite where there is no limit.

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
    ConvexReLUClassifier : The same for classification.

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
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import ConvexReLURegressor
    >>> X, y = make_friedman1(n_samples=100, random_state=0)
    >>> model = ConvexReLURegressor(n_patterns=30, random_state=0).fit(X, y)
    >>> bool(model.dual_gap_ <= 0.05)
    True
    >>> model.predict(X[:2]).shape
    (2,)
    """

    _parameter_constraints = {
        **BaseConvexReLU._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), Loss],
        "output_range": [StrOptions({"training"}), "array-like", None],
    }

    _Options = RegressionOptions

    lower_bound_: float
    dual_gap_: float
    certificate_: Certificate
    output_range_: FloatArray

    def __init__(
        self,
        alpha: float | Literal["auto"] = "auto",
        *,
        loss: RegressionLoss | Loss = "squared_error",
        patterns: Patterns | ArrayLike = "adaptive",
        n_patterns: int = 100,
        solver: Solver = "admm",
        hidden_layer: HiddenLayer = "auto",
        feature_weights: ArrayLike | Literal["auto"] | None = "auto",
        monotonic_cst: ArrayLike | dict[str, int] | None = None,
        fit_intercept: bool = True,
        output_range: OutputRange = "training",
        tol: float | None = None,
        max_iter: int = 10_000,
        warm_start: bool = False,
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
        self.output_range = output_range
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. The rows of a Dask array or dataframe stay on the workers of its client.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples; a weight of two is a sample that occurs twice.

        Returns
        -------
        self : ConvexReLURegressor
            The fitted estimator.
        """
        if is_dask(X):
            return self._fit_on_dask(
                X,
                y,
                sample_weight,
                lambda *arrays: arrays,
                _one_dimensional=len(np.shape(y)) == 1,
            )
        X, targets = self._validate(X, y, reset=True)
        return self._fit_network(
            X,
            targets,
            as_columns(targets),
            sample_weight,
            self._options(),
            _one_dimensional=targets.ndim == 1,
        )

    @by_blocks
    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Of a Dask collection the answer is a Dask array.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Outputs of the network, limited to `output_range_`.
        """
        outputs, dtype = self._outputs(X)
        outputs = np.clip(outputs, *self.output_range_)
        return (outputs[:, 0] if self._one_dimensional else outputs).astype(dtype, copy=False)

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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
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
        X, targets = self._validate(X, y, reset=False)
        return self._certify(X, as_columns(targets), sample_weight, time_limit, tol)

    def _validate(self, X, y, *, reset):
        if issparse(y):
            raise TypeError(
                "Sparse data was passed for y, but dense data is required: y.toarray()."
            )
        X, y = self._validate_data(X, y, multi_output=True, y_numeric=True, reset=reset)
        return X, y.astype(np.float64)

    def _limits(self, options, outputs):
        return {"output_range_": options.limits(outputs)}

    def _loss(self):
        loss = get_loss(self.loss)
        if loss.target != "real":
            raise ValueError(f"loss must be a loss for regression, got {self.loss!r}.")
        return loss


def as_columns(targets):
    """Targets of one output or several, a column each."""
    return targets.reshape(len(targets), -1)
