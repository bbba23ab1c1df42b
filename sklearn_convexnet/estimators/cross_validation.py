"""Estimators that choose their penalty by cross-validation along the regularisation path."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from .._compat import (
    FIT_WRAPPERS,
    Interval,
    StrOptions,
    accepts_sample_weight,
    check_sample_weight,
    fit_context,
    raise_for_params,
    routing_enabled,
    scorer_of_classes,
)
from .._typing import (
    ArrayLike,
    ClassificationLoss,
    FloatArray,
    HiddenLayer,
    OutputRange,
    Patterns,
    RegressionLoss,
    Seed,
    Solver,
)
from ..core.losses import Loss
from ..core.parallel import serial_blas
from ._base import BaseConvexReLU
from ._fit import canonical_problem, draw_seed, network_attributes, prepare
from ._folds import FoldScorer, check_folds
from .classifier import ConvexReLUClassifier, class_signs, out_activation
from .path import alpha_grid, check_alphas, path_networks
from .regressor import ConvexReLURegressor, as_columns

_BASE = BaseConvexReLU._parameter_constraints


class _AlphaByCrossValidation:
    """What the two estimators share; a subclass also inherits from the one it refits."""

    # what the base estimators would take as parameters
    alpha: float | Literal["auto"] = "auto"
    solver: Solver = "admm"
    warm_start = False

    # parameters of both
    cv: Any
    scoring: str | Callable[..., float] | None

    alphas_: FloatArray
    scores_: FloatArray
    best_score_: float

    _search_constraints = {
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "patterns": [StrOptions({"adaptive", "random", "all"})],
        **{
            name: _BASE[name]
            for name in (
                "n_patterns",
                "hidden_layer",
                "feature_weights",
                "monotonic_cst",
                "fit_intercept",
                "tol",
                "max_iter",
                "random_state",
                "n_jobs",
                "verbose",
            )
        },
    }

    def get_metadata_routing(self) -> MetadataRouter:
        """Say which metadata `fit` passes on: to the splitter and to the scorer.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
            The requests of this estimator, of `cv` and of `scoring`.
        """
        # a name, as all releases of scikit-learn take it, and none has to copy
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        splits, scores = (MethodMapping().add(caller="fit", callee=c) for c in ("split", "score"))
        return router.add(splitter=self.cv, method_mapping=splits).add(
            scorer=get_scorer(self.scoring), method_mapping=scores
        )

    def _search(self, X, y, sample_weight, template, params):
        """Choose the penalty; returns options of the fit of all data, attributes, and `extra`.

        `template` is a base estimator with the fitted attributes that are no outcome of a fit;
        `params` are metadata for the splitter and the scorer.
        """
        split_params, score_params = self._route(sample_weight, params)
        scorer = None if self.scoring is None else FoldScorer(self.scoring, score_params)
        rng = check_random_state(self.random_state)
        # one seed: the penalties of a fold do not depend on the other folds
        seed = draw_seed(rng)
        folds = self._folds(X, y, seed, split_params)
        for k, (train, test) in enumerate(folds):
            for name, part in (("train", train), ("test", test)):
                if sample_weight is not None and not sample_weight[part].any():
                    raise ValueError(
                        f"cv: the {name} set of fold {k} has no sample of positive weight."
                    )
        chosen = {"feature_weights": self.feature_weights}
        if isinstance(self.alphas, Integral) or isinstance(self.feature_weights, str):
            fresh = np.random.RandomState(seed)
            prepared = self._prepare(X, y, sample_weight, template, seed, fresh)
            chosen = {"feature_weights": prepared.problem.feature_weights_}
        if isinstance(self.alphas, Integral):
            alphas = alpha_grid(prepared.programs, self.alphas, self.eps, seed)
        else:
            alphas = check_alphas(self.alphas)
        # a generator cannot be sent to another process
        worker = copy.copy(self)
        worker.cv = None
        measured = Parallel(n_jobs=self.n_jobs)(
            delayed(worker._measure_fold)(
                X, y, sample_weight, train, test, template, alphas, seed, scorer
            )
            for train, test in folds
        )
        # a row per penalty, a column per fold
        scores, extra = (np.stack(columns, axis=1) for columns in zip(*measured, strict=True))
        undefined = ~np.isfinite(scores)
        if undefined.any():
            raise ValueError(
                f"scoring={self.scoring!r} must return finite numbers, got NaN or infinity for "
                f"{undefined.sum()} of {scores.size} fits, on the folds "
                f"{np.flatnonzero(undefined.any(axis=0)).tolist()}."
            )
        means = scores.mean(axis=1)
        # of equals the first, the largest penalty
        best = int(np.argmax(means))
        if self.verbose:
            for alpha, mean, std in zip(alphas, means, scores.std(axis=1), strict=True):
                print(f"[{type(self).__name__}] alpha {alpha:.3e}  score {mean:.6g} +- {std:.2g}")
        attributes = {"alphas_": alphas, "scores_": scores, "best_score_": float(means[best])}
        return chosen | {"alpha": float(alphas[best])}, attributes, extra

    def _route(self, sample_weight, params):
        """Metadata of the splitter and of the scorer."""
        raise_for_params(params, self, "fit")
        if routing_enabled():
            routed = process_routing(self, "fit", sample_weight=sample_weight, **params)
            return routed["splitter"]["split"], routed["scorer"]["score"]
        if sample_weight is None or self.scoring is None:
            return {}, {}
        if accepts_sample_weight(get_scorer(self.scoring)):
            return {}, {"sample_weight": sample_weight}
        warnings.warn(
            f"The scoring {self.scoring!r} does not support sample_weight, which may lead to "
            f"statistically incorrect results when fitting {type(self).__name__} with "
            "sample_weight: its scores are not weighted.",
            UserWarning,
            stacklevel=4 + FIT_WRAPPERS,  # the caller of fit
        )
        return {}, {}

    def _folds(self, X, y, seed, params):
        """Index arrays of the rows that train and of those left out, for every fold."""
        cv = self.cv
        if cv is None or isinstance(cv, Integral):
            cv = check_cv(cv, y, classifier=is_classifier(self))
            # tables are often sorted
            cv = type(cv)(cv.n_splits, shuffle=True, random_state=seed)
        return check_folds(cv.split(X, y, **params) if hasattr(cv, "split") else cv, len(y))

    def _prepare(self, X, y, sample_weight, template, seed, rng):
        """The programs of the rows; their penalties are set on the path."""
        targets, weights = self._encode(X, y, sample_weight, template)
        # feature weights come with a penalty of their own
        alpha = "auto" if isinstance(self.feature_weights, str) else 1.0
        problem = canonical_problem(X, targets, weights, self._options(alpha=alpha))
        return prepare(problem.judged(seed), rng)

    @serial_blas()
    def _measure_fold(self, X, y, sample_weight, train, test, model, alphas, seed, scorer):
        """Scores, and what else the estimator wants to know, of all penalties on one fold."""
        # folds may be measured in threads of one process
        model = copy.copy(model)
        rng = np.random.RandomState(seed)
        seed = draw_seed(rng)
        weights = None if sample_weight is None else sample_weight[train]
        prepared = self._prepare(X[train], y[train], weights, model, seed, rng)
        problem = prepared.problem
        vars(model).update(self._limits(problem.options, problem.outputs))
        weights = None
        # a row without weight, or of a class without, does not exist
        if hasattr(model, "classes_"):
            test = test[np.isin(y[test], model.classes_)]
        if sample_weight is not None:
            test = test[sample_weight[test] > 0]
            weights = sample_weight[test]
        scores, extra = [], []
        for alpha, network in zip(alphas, path_networks(prepared, alphas, seed), strict=True):
            model.alpha = model.alpha_ = alpha
            vars(model).update(network_attributes(network))
            scores.append(
                self._default_score(model, X[test], y[test], weights)
                if scorer is None
                else scorer(model, X, y, test)
            )
            extra.append(self._extra_score(model, X[test], y[test], weights))
        return np.array(scores, dtype=float), np.array(extra, dtype=float)

    def _template(self, base):
        """A base estimator with the parameters of this one."""
        own = self.get_params(deep=False)
        params = {name: own[name] for name in base().get_params(deep=False) if name in own}
        model = base(**params | {"n_jobs": None})
        model.n_features_in_ = self.n_features_in_
        return model


class ConvexReLURegressorCV(_AlphaByCrossValidation, ConvexReLURegressor):
    r"""Convex ReLU regression with the penalty chosen by cross-validation.

    On every fold networks are computed for a decreasing sequence of penalties, each from the last,
    and scored on the samples left out. The network of all data is then fitted with the penalty
    `alpha_` of the best mean score, as by `ConvexReLURegressor`. All outputs have the same
    penalty.

    Parameters
    ----------
    alphas : int or array-like of shape (n_alphas,), default=10
        Penalties to try, > 0; or their number: evenly spaced in their logarithm from `alpha_max`
        of all data down to `eps` times that.

    eps : float, default=1e-3
        The smallest penalty over the largest, when `alphas` is a number.

    cv : int, cross-validation generator or iterable, default=None
        How the data are split: a number of folds (None: 5 of them), a splitter, or pairs
        ``(train, test)`` of index arrays or masks, such as
        ``list(GroupKFold().split(X, y, groups))``; a generator of them is good for one `fit`. With
        metadata routing `fit` passes `groups` to the splitter. `KFold` is used where a number is
        given, and shuffles the samples, with the seed of `random_state`: tables are often sorted.

    scoring : str, callable or None, default=None
        How a network is scored on a fold: a name, or a callable ``scorer(estimator, X, y)`` to
        which `sample_weight` is passed when `fit` has one, with a warning where it takes none.
        None: the negative mean squared error, as in `sklearn.linear_model.LassoCV`; for other
        losses than the squared one their negative mean, because the squared error would not choose
        a good quantile. `score` is R^2 in any case.

    loss : {"squared_error", "absolute_error", "huber", "quantile"} or Loss, default="squared_error"
        Loss of a prediction, as in `ConvexReLURegressor`.

    patterns : {"adaptive", "random", "all"}, default="adaptive"
        Activation patterns that the neurons may have, as in `ConvexReLURegressor`.

    n_patterns : int, default=100
        Number of random patterns; with "adaptive" those to start from.

    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Whether outputs share their neurons, as in `ConvexReLURegressor`.

    feature_weights : "auto", array-like of shape (n_features,) or None, default=None
        Weights of the features in the penalty, as in the base estimator. "auto": chosen as
        there, with a penalty of their own, on every training set of `cv` and on all data.

    monotonic_cst : array-like of int of shape (n_features,) or dict, default=None
        Features with which the output may only increase, 1, or only decrease, -1, as in the base
        estimator, on every fold and in the fit on all data.

    fit_intercept : bool, default=True
        Whether neurons have (penalised) biases and the output a (free) one.

    output_range : "training", None or (low, high), default="training"
        What predictions are limited to, as in `ConvexReLURegressor`; on a fold by the targets
        that train there.

    tol : float, default=None
        Relative duality gap to reach, in the fit on all data, as in the base estimator. Of the
        networks of folds nothing is proved with adaptive patterns; with others their gap is
        relative to the objective of the constant network, see `convex_relu_path`.

    max_iter : int, default=10000
        Bound on the iterations of every fit.

    random_state : int, RandomState instance or None, default=None
        Seed of the random patterns and searches. Pass an int for reproducible results.

    n_jobs : int or None, default=None
        Number of folds fitted at the same time, by joblib; in the fit on all data, of
        separate outputs.
        The result does not depend on it.

    verbose : bool or int, default=False
        Whether to print the score of every penalty, and a line per check of the duality gap in
        the fit on all data.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen: the one with the best mean score, of equals the largest.

    alphas_ : ndarray of shape (n_alphas,)
        The penalties tried, the largest first.

    scores_ : ndarray of shape (n_alphas, n_folds)
        Score of every penalty on every fold; greater is better.

    best_score_ : float
        Mean score of `alpha_` over the folds.

    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared error of every penalty on every fold, averaged over the outputs.

    network_ : TwoLayerReLU
        The network fitted on all data.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs).

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
        Iterations of the descent and of the solver in the fit on all data; the largest of the
        outputs.

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
        Patterns of the program on the training data.

    history_ : list of dict
        One entry per check in the fit on all data, as in `ConvexReLURegressor`.

    loss_curve_ : ndarray of shape (n_checks,)
        The least objective known at every check of that fit, as without cross-validation.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    ConvexReLURegressor : The same with a given penalty.
    convex_relu_path : The networks of all penalties.
    ConvexReLUClassifierCV : The same for classification.

    Notes
    -----
    Sample weights weight both the fits and the scores of the folds; the mean over the folds is not
    weighted, as in `sklearn.linear_model.LassoCV`.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import ConvexReLURegressorCV
    >>> X, y = make_friedman1(n_samples=60, random_state=0)
    >>> model = ConvexReLURegressorCV(alphas=5, eps=1e-2, cv=3, random_state=0).fit(X, y)
    >>> model.mse_path_.shape
    (5, 3)
    >>> bool(model.alpha_ in model.alphas_)
    True
    """

    _parameter_constraints = {
        **_AlphaByCrossValidation._search_constraints,
        "loss": ConvexReLURegressor._parameter_constraints["loss"],
        "output_range": ConvexReLURegressor._parameter_constraints["output_range"],
    }

    alpha_: float
    mse_path_: FloatArray

    def __init__(
        self,
        *,
        alphas: int | ArrayLike = 10,
        eps: float = 1e-3,
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        loss: RegressionLoss | Loss = "squared_error",
        patterns: Patterns = "adaptive",
        n_patterns: int = 100,
        hidden_layer: HiddenLayer = "auto",
        feature_weights: ArrayLike | Literal["auto"] | None = None,
        monotonic_cst: ArrayLike | dict[str, int] | None = None,
        fit_intercept: bool = True,
        output_range: OutputRange = "training",
        tol: float | None = None,
        max_iter: int = 10_000,
        random_state: Seed = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.loss = loss
        self.patterns = patterns
        self.n_patterns = n_patterns
        self.hidden_layer = hidden_layer
        self.feature_weights = feature_weights
        self.monotonic_cst = monotonic_cst
        self.fit_intercept = fit_intercept
        self.output_range = output_range
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Choose the penalty by cross-validation and fit the network of all data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples, in the fits and in the scores. A `scoring` that
            takes none is warned of and not weighted.
        **params : dict
            Metadata for the splitter, such as `groups`, and for the scorer; only with
            ``sklearn.set_config(enable_metadata_routing=True)``. A scorer then gets what it
            requests, weights as after ``scorer.set_score_request(sample_weight=True)``.

        Returns
        -------
        self : ConvexReLURegressorCV
            The fitted estimator.
        """
        X, y = self._validate(X, y, reset=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        template = self._template(ConvexReLURegressor)
        template._one_dimensional = y.ndim == 1
        chosen, attributes, errors = self._search(X, y, sample_weight, template, params)
        return self._fit_network(
            X,
            y,
            as_columns(y),
            sample_weight,
            self._options(**chosen),
            _one_dimensional=y.ndim == 1,
            mse_path_=errors,
            **attributes,
        )

    def _encode(self, X, y, sample_weight, template):
        return as_columns(y), check_sample_weight(sample_weight, X)

    def _default_score(self, model, X, y, sample_weight):
        loss = self._loss()
        if loss.name == "squared_error":
            return -self._extra_score(model, X, y, sample_weight)
        losses = loss.value(as_columns(model.predict(X)), as_columns(y)).mean(axis=1)
        return -np.average(losses, weights=sample_weight)

    def _extra_score(self, model, X, y, sample_weight):
        """Mean squared error."""
        squares = (as_columns(model.predict(X)) - as_columns(y)) ** 2
        return np.average(squares.mean(axis=1), weights=sample_weight)


class ConvexReLUClassifierCV(_AlphaByCrossValidation, ConvexReLUClassifier):
    r"""Convex ReLU classification with the penalty chosen by cross-validation.

    On every fold networks are computed for a decreasing sequence of penalties, each from the last,
    and scored on the samples left out. The network of all data is then fitted with the penalty
    `alpha_` of the best mean score, as by `ConvexReLUClassifier`. The outputs of more than two
    classes have the same penalty.

    Parameters
    ----------
    alphas : int or array-like of shape (n_alphas,), default=10
        Penalties to try, > 0; or their number: evenly spaced in their logarithm from `alpha_max`
        of all data down to `eps` times that.

    eps : float, default=1e-3
        The smallest penalty over the largest, when `alphas` is a number.

    cv : int, cross-validation generator or iterable, default=None
        How the data are split: a number of folds (None: 5 of them), a splitter, or pairs
        ``(train, test)`` of index arrays or masks, such as
        ``list(GroupKFold().split(X, y, groups))``; a generator of them is good for one `fit`. With
        metadata routing `fit` passes `groups` to the splitter. `StratifiedKFold` is used where a
        number is given, and shuffles the samples, with the seed of `random_state`: tables are often
        sorted.

    scoring : str, callable or None, default=None
        How a network is scored on a fold: a name, or a callable ``scorer(estimator, X, y)`` to
        which `sample_weight` is passed when `fit` has one, with a warning where it takes none.
        Scorers of scikit-learn know all classes, also those that a fold lacks; the positive one of
        two is ``classes_[1]``, as in `sklearn.linear_model.LogisticRegressionCV`, unless
        ``make_scorer(f1_score, pos_label=...)`` says another. None: "neg_log_loss" for the logistic
        loss, which sees differences where accuracies are equal (the default of
        `LogisticRegressionCV` from scikit-learn 1.11 on); "accuracy" for other losses, which
        estimate no probabilities. `score` is the accuracy in any case.

    loss : {"log_loss", "hinge", "squared_hinge"} or Loss instance, default="log_loss"
        Loss of a margin, as in `ConvexReLUClassifier`.

    patterns : {"adaptive", "random", "all"}, default="adaptive"
        Activation patterns that the neurons may have, as in `ConvexReLUClassifier`.

    n_patterns : int, default=100
        Number of random patterns; with "adaptive" those to start from.

    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Whether outputs share their neurons, as in `ConvexReLUClassifier`.

    feature_weights : "auto", array-like of shape (n_features,) or None, default=None
        Weights of the features in the penalty, as in the base estimator. "auto": chosen as
        there, with a penalty of their own, on every training set of `cv` and on all data.

    monotonic_cst : array-like of int of shape (n_features,) or dict, default=None
        Features with which the output may only increase, 1, or only decrease, -1, as in the base
        estimator, on every fold and in the fit on all data.

    fit_intercept : bool, default=True
        Whether neurons have (penalised) biases and the output a (free) one.

    tol : float, default=None
        Relative duality gap to reach, in the fit on all data, as in the base estimator. Of the
        networks of folds nothing is proved with adaptive patterns; with others their gap is
        relative to the objective of the constant network, see `convex_relu_path`.

    max_iter : int, default=10000
        Bound on the iterations of every fit.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with the sample weights in the fits and, where
        `scoring` is None, in the scores; "balanced" anew on every fold.

    random_state : int, RandomState instance or None, default=None
        Seed of the random patterns and searches. Pass an int for reproducible results.

    n_jobs : int or None, default=None
        Number of folds fitted at the same time, by joblib; in the fit on all data, of
        separate outputs.
        The result does not depend on it.

    verbose : bool or int, default=False
        Whether to print the score of every penalty, and a line per check of the duality gap in
        the fit on all data.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen: the one with the best mean score, of equals the largest.

    alphas_ : ndarray of shape (n_alphas,)
        The penalties tried, the largest first.

    scores_ : ndarray of shape (n_alphas, n_folds)
        Score of every penalty on every fold; greater is better.

    best_score_ : float
        Mean score of `alpha_` over the folds.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    out_activation_ : {"logistic", "softmax", "identity"}
        What makes probabilities of the outputs, as in `ConvexReLUClassifier`.

    network_ : TwoLayerReLU
        The network fitted on all data; its outputs are those of `decision_function`.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs).

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
        Iterations of the descent and of the solver in the fit on all data; the largest of the
        outputs.

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
        Patterns of the program on the training data.

    history_ : list of dict
        One entry per check in the fit on all data, as in `ConvexReLUClassifier`.

    loss_curve_ : ndarray of shape (n_checks,)
        The least objective known at every check of that fit, as without cross-validation.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    ConvexReLUClassifier : The same with a given penalty.
    convex_relu_path : The networks of all penalties.
    ConvexReLURegressorCV : The same for regression.

    Notes
    -----
    Sample weights weight both the fits and the scores of the folds; the mean over the folds is not
    weighted.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifierCV
    >>> X, y = make_moons(n_samples=60, noise=0.1, random_state=0)
    >>> model = ConvexReLUClassifierCV(alphas=5, eps=1e-2, cv=3, random_state=0).fit(X, y)
    >>> model.scores_.shape
    (5, 3)
    >>> model.predict(X[:2])
    array([0, 1])
    """

    _parameter_constraints = {
        **_AlphaByCrossValidation._search_constraints,
        "loss": ConvexReLUClassifier._parameter_constraints["loss"],
        "class_weight": ConvexReLUClassifier._parameter_constraints["class_weight"],
    }

    _accepts_multilabel = False

    alpha_: float

    def __init__(
        self,
        *,
        alphas: int | ArrayLike = 10,
        eps: float = 1e-3,
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        loss: ClassificationLoss | Loss = "log_loss",
        patterns: Patterns = "adaptive",
        n_patterns: int = 100,
        hidden_layer: HiddenLayer = "auto",
        feature_weights: ArrayLike | Literal["auto"] | None = None,
        monotonic_cst: ArrayLike | dict[str, int] | None = None,
        fit_intercept: bool = True,
        tol: float | None = None,
        max_iter: int = 10_000,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        random_state: Seed = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.loss = loss
        self.patterns = patterns
        self.n_patterns = n_patterns
        self.hidden_layer = hidden_layer
        self.feature_weights = feature_weights
        self.monotonic_cst = monotonic_cst
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Choose the penalty by cross-validation and fit the network of all data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples, in the fits and in the scores. A `scoring` that
            takes none is warned of and not weighted.
        **params : dict
            Metadata for the splitter, such as `groups`, and for the scorer; only with
            ``sklearn.set_config(enable_metadata_routing=True)``. A scorer then gets what it
            requests, weights as after ``scorer.set_score_request(sample_weight=True)``.

        Returns
        -------
        self : ConvexReLUClassifierCV
            The fitted estimator.
        """
        X, y, weights, classes = self._validate(X, y, sample_weight)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        signs, options = class_signs(y, classes), self._options(alpha=1.0)
        template = self._template(ConvexReLUClassifier)
        template.classes_ = classes
        template.out_activation_ = activation = out_activation(
            options.loss, softmax=options.is_softmax(signs.shape[1])
        )
        chosen, attributes, _ = self._search(X, y, sample_weight, template, params)
        return self._fit_network(
            X,
            y,
            signs,
            weights,
            replace(options, **chosen),
            classes_=classes,
            out_activation_=activation,
            **attributes,
        )

    def _encode(self, X, y, sample_weight, template):
        weights = self._weights(sample_weight, X, y)
        present = np.unique(y[weights > 0])
        if len(present) < 2:
            raise ValueError(
                "cv: every training set must have samples of at least two classes of positive "
                f"weight, got one with the classes {present.tolist()} only."
            )
        return class_signs(y, template.classes_), weights

    def _default_score(self, model, X, y, sample_weight):
        if self.class_weight is not None:
            sample_weight = self._weights(sample_weight, X, y)
        if self._loss().name == "log_loss":
            scorer = scorer_of_classes(get_scorer("neg_log_loss"), model.classes_)
            return scorer(model, X, y, sample_weight=sample_weight)
        return model.score(X, y, sample_weight=sample_weight)

    def _extra_score(self, model, X, y, sample_weight):
        return 0.0
