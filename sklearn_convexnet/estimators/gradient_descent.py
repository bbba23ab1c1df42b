"""The same networks trained by plain gradient descent: how far, and which ones, it finds."""

from __future__ import annotations

import time
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d

from .._compat import Interval, StrOptions, fit_context
from .._typing import ArrayLike, ClassificationLoss, Seed
from ..core.losses import Loss
from ..core.network import TwoLayerReLU
from ..core.parallel import one_blas_pool
from ..core.rows import as_rows, with_constant
from ..solvers import FeatureForm, GradientDescent, RowForm
from ._data import canonical_data, check_size
from ._fit import network_attributes
from ._reporter import show_check
from .classifier import BaseConvexReLUClassifier, check_labels, class_signs, out_activation

# multiplications of a step from which threads pay off
_LARGE = 10_000_000


class GradientDescentReLUClassifier(BaseConvexReLUClassifier):
    r"""Two-layer ReLU network for classification, trained by full-batch gradient descent.

    With labels :math:`y_k = \pm 1`, the network
    :math:`f(x) = \sum_{j \le m} (x^\top u_j + b_j)_+ a_j + c` starts at
    :math:`(u_j, b_j) \sim N(0, \omega^2 I)` and :math:`a_j = \pm 1 / \sqrt{m}` at random, and takes
    a fixed number of gradient steps on

    .. math::

        \sum_k \omega_k \phi(y_k f(x_k))
            + \frac{\alpha}{2} \sum_j (\|u_j\|^2 + b_j^2 + a_j^2)

    in the hidden layer; the output weights stay as they are [1]_. That is the setting in which
    networks have been shown to overfit benignly, and to do so long before they generalise. With
    ``train_output=True`` and a positive `alpha` it is the objective of `ConvexReLUClassifier`, by
    the usual means.

    Parameters
    ----------
    alpha : float, default=0.0
        Strength of the weight decay, >= 0, as in `ConvexReLUClassifier`.

    n_neurons : int, default=100
        Hidden neurons of every output.

    learning_rate : float or "auto", default="auto"
        Length of a step in units of the gradient, > 0. "auto": one over a bound on the curvature
        of the objective where the step begins; for losses without kinks. A ValueError says so when
        the descent diverges.

    n_steps : int, default=500
        Number of steps. There is no other stopping rule: the number of steps regularises.

    loss : {"log_loss", "hinge", "squared_hinge"} or Loss instance, default="log_loss"
        Loss of a margin m: ``log(1 + exp(-m))``, ``max(0, 1 - m)`` or
        ``max(0, 1 - m)**2 / 2``.

    train_output : bool, default=False
        Whether the output weights are trained, too.

    init_scale : float, default=0.1
        Standard deviation :math:`\omega` of the hidden weights and biases at the start, > 0. Where
        it is tiny the first steps choose the features, as in [1]_; where it is large the neurons
        stay close to where they were drawn.

    fit_intercept : bool, default=True
        Whether neurons have (penalised) biases and the output a (free) one, which starts at zero.

    record_at : array-like of int or None, default=None
        Numbers of steps after which `history_` gets an entry, >= 0. None: zero, the powers of two,
        and the last.

    warm_start : bool, default=False
        Whether `fit` goes on from the last network, where it has the right shape, for `n_steps`
        more.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with the sample weights.

    random_state : int, RandomState instance or None, default=None
        Seed of the first network. Pass an int for reproducible results.

    verbose : bool or int, default=False
        Whether to print a line per entry of `history_`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    out_activation_ : {"logistic", "identity"}
        What makes probabilities of the outputs, as in `ConvexReLUClassifier`.

    network_ : TwoLayerReLU
        The fitted network; its outputs are those of `decision_function`.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs), as in `sklearn.neural_network.MLPClassifier`.

    intercepts_ : list of two ndarray
        Hidden biases of shape (n_neurons,) and output biases of shape (n_outputs,).

    objective_ : float
        Training objective of `network_`, summed over the outputs.

    n_iter_ : int
        Steps taken since the first network was drawn.

    n_neurons_ : int
        Number of hidden neurons, of all outputs together.

    n_outputs_ : int
        Number of outputs: 1 for two classes, else the number of classes.

    history_ : list of dict
        One entry per step of `record_at`: "iteration", the steps taken since the first network was
        drawn; "loss", the mean loss, "objective" and "accuracy" on the training data, by weight;
        "val_loss" and "val_accuracy" where there are validation data; and "time" in seconds since
        the call began.

    loss_curve_ : ndarray of shape (n_records,)
        The objectives of `history_`.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    ConvexReLUClassifier : The same objective by convex optimisation, with a duality gap.
    sklearn_convexnet.datasets.make_xor_clusters : The data of [1]_.

    Notes
    -----
    With more features than samples the descent runs in the span of the rows:
    :math:`W_t = s_t W_0 + X^\top C_t`, where a step costs :math:`n^2 m` multiplications instead of
    :math:`2 n d m` and moves the network as it would otherwise, up to rounding.

    The setting of [1]_ has ``fit_intercept=False``, 1000 neurons, a learning rate of 1e-12 or 1e-16
    and an `init_scale` of 1e-15, on 40000 features. More than two classes are fitted one against
    the rest, with steps of the same length.

    References
    ----------
    .. [1] Z. Xu, Y. Wang, S. Frei, G. Vardi and W. Hu, "Benign Overfitting and Grokking in ReLU
       Networks for XOR Cluster Data", ICLR 2024, arXiv:2310.02541.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import GradientDescentReLUClassifier
    >>> X, y = make_moons(n_samples=100, noise=0.1, random_state=0)
    >>> model = GradientDescentReLUClassifier(n_steps=100, random_state=0).fit(X, y)
    >>> model.partial_fit(X, y).n_iter_
    200
    >>> [entry["iteration"] for entry in model.history_[-3:]]
    [100, 128, 200]
    """

    _parameter_constraints = {
        **{
            name: BaseConvexReLUClassifier._parameter_constraints[name]
            for name in ("loss", "fit_intercept", "warm_start", "class_weight", "random_state")
        },
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_neurons": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "train_output": ["boolean"],
        "init_scale": [Interval(Real, 0, None, closed="neither")],
        "record_at": ["array-like", None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        alpha: float = 0.0,
        *,
        n_neurons: int = 100,
        learning_rate: float | Literal["auto"] = "auto",
        n_steps: int = 500,
        loss: ClassificationLoss | Loss = "log_loss",
        train_output: bool = False,
        init_scale: float = 0.1,
        fit_intercept: bool = True,
        record_at: ArrayLike | None = None,
        warm_start: bool = False,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        random_state: Seed = None,
        verbose: bool | int = False,
    ) -> None:
        self.alpha = alpha
        self.n_neurons = n_neurons
        self.learning_rate = learning_rate
        self.n_steps = n_steps
        self.loss = loss
        self.train_output = train_output
        self.init_scale = init_scale
        self.fit_intercept = fit_intercept
        self.record_at = record_at
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Draw a network and take `n_steps` steps.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples; a weight of two is a sample that occurs twice.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Data that `history_` is to tell about, too; they do not influence the fit.
        y_val : array-like of shape (n_val,), default=None
            Their class labels.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weights, classes = self._validate(X, y, sample_weight)
        past = None
        if self.warm_start and hasattr(self, "network_"):
            past = self._past(X.shape[1], classes)
        return self._descend(X, y, weights, classes, past, X_val, y_val, sample_weight)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Take `n_steps` more steps, on the same data or on others.

        `n_neurons` and `fit_intercept` must be those of the first call, else there is a ValueError.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All class labels; needed in the first call unless `y` has them all, and the same in
            later ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the samples; a weight of two is a sample that occurs twice.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Data that `history_` is to tell about, too; they do not influence the fit.
        y_val : array-like of shape (n_val,), default=None
            Their class labels.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if classes is not None:
            classes = np.unique(column_or_1d(classes))
            if len(classes) < 2:
                raise ValueError(f"classes must have two labels or more, got {classes.tolist()}.")
        if not hasattr(self, "network_"):
            X, y, weights, found = self._validate(X, y, sample_weight, classes)
            return self._descend(X, y, weights, found, None, X_val, y_val, sample_weight)
        if classes is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_.tolist()}; got "
                f"{classes.tolist()}."
            )
        X, y, weights, _ = self._validate(X, y, sample_weight, self.classes_, reset=False)
        past = self._past(X.shape[1], self.classes_)
        if past is None:
            raise ValueError(
                "partial_fit goes on with the network that there is: n_neurons="
                f"{self.n_neurons} and fit_intercept={self.fit_intercept} must be as they were "
                "in the first call. Use fit to begin anew."
            )
        return self._descend(X, y, weights, self.classes_, past, X_val, y_val, sample_weight)

    def _validate(self, X, y, sample_weight, classes=None, *, reset=True):
        """Validated training data, the weights of its samples, and the classes."""
        if self.learning_rate == "auto" and not np.isfinite(self._loss().curvature):
            raise ValueError(
                f"learning_rate='auto' needs a loss without kinks, got loss={self.loss!r}; give a "
                "number."
            )
        if classes is None:
            return super()._validate(X, y, sample_weight)
        X, y = self._validate_data(X, y, reset=reset)
        check_labels(np.unique(y))
        self._check_class_weight(classes)
        weights = self._weights(sample_weight, X, y)
        _check_known(y[weights > 0], classes, "y")
        return X, y, weights, classes

    def _past(self, n_features, classes):
        """The fitted network, if a descent with the present parameters can go on from it."""
        network = self.network_
        fits = (
            np.array_equal(classes, self.classes_)
            and network.hidden_weights.shape == (n_features, self.n_neurons * self.n_outputs_)
            and (
                self.fit_intercept or not (network.hidden_biases.any() or self.intercepts_[1].any())
            )
        )
        return network if fits else None

    def _descend(self, X, y, weights, classes, past, X_val, y_val, sample_weight):
        """Take the steps, then set all fitted attributes: an error leaves the last fit alone."""
        began = time.perf_counter()
        done = 0 if past is None else self.n_iter_
        marks = self._marks(done)
        X_val, val_targets = self._validate_val(X_val, y_val, classes)
        data, first, omega = canonical_data(X, class_signs(y, classes), weights, accept_sparse=True)
        rows, targets = self._rows(data[first]), class_signs(y[first], classes)
        check_size("X", rows)
        history = [] if past is None else list(self.history_)
        task = self._begin_task(X, y, sample_weight, None)
        # several products of an iteration have this size
        large = rows.shape[0] * min(rows.shape) * self.n_neurons * targets.shape[1] >= _LARGE
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        known = {"classes_": classes, "out_activation_": out_activation(self._loss())}

        def fitted():
            return {**known, **network_attributes(self._network(descent))}

        with one_blas_pool(large=large), np.errstate(over="ignore", invalid="ignore"):
            descent = self._start(rows, targets, omega, past, X_val)
            for iteration in range(done, done + self.n_steps + 1):
                if iteration > done:
                    descent.step()
                descent.forward()
                if iteration in marks:
                    entry = _entry(descent, iteration, val_targets, time.perf_counter() - began)
                    self._check_finite(entry["objective"], iteration)
                    history.append(entry)
                    if self._report(entry, task, fitted, X=X, y=y, metadata=metadata):
                        break
            objective = descent.objective()
            self._check_finite(objective, iteration)
            network = self._network(descent)
        vars(self).update(network_attributes(network))
        self.objective_, self.n_iter_, self.history_ = objective, iteration, history
        self.loss_curve_ = np.array([entry["objective"] for entry in history])
        vars(self).update(known)
        self._end_task(task, X, y, sample_weight)
        return self

    def _rows(self, X):
        """What the hidden neurons see."""
        return with_constant(X) if self.fit_intercept else X

    def _marks(self, done):
        """The numbers of steps after which something is recorded in this call."""
        last = done + self.n_steps
        if self.record_at is None:
            marks = {0, last} | {2**k for k in range(last.bit_length())}
        else:
            wanted = np.asarray(self.record_at)
            if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
                raise ValueError(
                    f"record_at must be a list of whole numbers, got {self.record_at!r}."
                )
            if (wanted < 0).any():
                raise ValueError(f"record_at must not hold negative numbers: {wanted.min()}.")
            marks = set(wanted.tolist())
        # where one call ends and the next begins is recorded once
        return {mark for mark in marks if done < mark or mark == done == 0}

    def _validate_val(self, X_val, y_val, classes):
        """Rows and targets of the validation data, None where there are none."""
        if (X_val is None) != (y_val is None):
            given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"{given} is given and {missing} is not: give both or none.")
        if X_val is None:
            return None, None
        X_val = as_rows(self._validate_data(X_val, reset=False))
        y_val = column_or_1d(y_val)
        check_consistent_length(X_val, y_val)
        _check_known(y_val, classes, "y_val")
        return self._rows(X_val), class_signs(y_val, classes)

    def _start(self, rows, targets, omega, past, X_val):
        """The descent at the network that it starts from."""
        m, n_outputs = self.n_neurons, targets.shape[1]
        if past is None:
            rng = check_random_state(self.random_state)
            signs = rng.choice([-1.0, 1.0], size=m) / np.sqrt(m)
            hidden = rng.standard_normal((rows.shape[1], m))
            hidden *= self.init_scale
            if n_outputs > 1:
                hidden = np.tile(hidden, n_outputs)  # every output starts as it would alone
            output_weights, output_biases = np.tile(signs, (n_outputs, 1)), np.zeros(n_outputs)
        else:
            hidden = np.array(past.hidden_weights)
            if self.fit_intercept:
                hidden = np.concatenate([hidden, past.hidden_biases[None]])
            output_weights = past.output_weights[_own_neurons(n_outputs, m)].reshape(n_outputs, m)
            output_biases = past.output_biases
        form = RowForm if rows.shape[1] > rows.shape[0] else FeatureForm
        return GradientDescent(
            form(rows, hidden, X_val),
            output_weights,
            output_biases,
            targets,
            omega,
            loss=self._loss(),
            alpha=self.alpha,
            learning_rate=None if self.learning_rate == "auto" else self.learning_rate,
            train_output=self.train_output,
            train_bias=self.fit_intercept,
        )

    def _network(self, descent):
        hidden = descent.hidden.collect()
        n_outputs, m = descent.output_weights.shape
        output_weights = np.zeros((n_outputs * m, n_outputs))
        output_weights[_own_neurons(n_outputs, m)] = descent.output_weights.ravel()
        if self.fit_intercept:
            hidden, hidden_biases = hidden[:-1], hidden[-1]
        else:
            hidden_biases = np.zeros(hidden.shape[1])
        return TwoLayerReLU(hidden, hidden_biases, output_weights, descent.output_biases)

    def _report(self, entry, task, fitted, **data):
        """Print an entry and show it to the callbacks; returns whether they ask to stop."""
        if self.verbose:
            words = [f"[{type(self).__name__}] step {entry['iteration']:>6}"]
            words += [f"objective {entry['objective']:.6g}", f"accuracy {entry['accuracy']:.3f}"]
            if "val_accuracy" in entry:
                words.append(f"val_accuracy {entry['val_accuracy']:.3f}")
            print("  ".join([*words, f"{entry['time']:.2f}s"]))
        if task is None:
            return False
        check = task.subcontext("descent", entry["iteration"])
        return show_check(check, self, entry, **data, reconstruction_attributes=fitted)

    def _check_finite(self, objective, iteration):
        if not np.isfinite(objective):
            raise ValueError(
                f"Gradient descent has diverged by step {iteration}: use a smaller learning_rate, "
                f"got {self.learning_rate!r}, or scale the features."
            )


def _own_neurons(n_outputs, n_neurons):
    """Indices of the output weights that are not zero by construction."""
    return np.arange(n_outputs * n_neurons), np.repeat(np.arange(n_outputs), n_neurons)


def _entry(descent, iteration, val_targets, seconds):
    """What `history_` says about the present network."""
    entry = {
        "iteration": iteration,
        "loss": descent.mean_loss(),
        "objective": descent.objective(),
        # one when nothing is wrong, which rounded weights need not sum to
        "accuracy": 1.0 - float(descent.weights @ ~_right(descent.outputs, descent.y)),
    }
    if val_targets is not None:
        outputs = descent.outputs_of_others()
        entry["val_loss"] = float(descent.loss.value(outputs, val_targets).sum(axis=1).mean())
        entry["val_accuracy"] = float(_right(outputs, val_targets).mean())
    return {**entry, "time": seconds}


def _right(outputs, targets):
    """Which rows have the label that `predict` gives them."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0) == (targets[:, 0] > 0)
    return np.argmax(outputs, axis=1) == np.argmax(targets, axis=1)


def _check_known(y, classes, name):
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise ValueError(
            f"{name} holds labels that are not among the classes {classes.tolist()}: "
            f"{unknown[:5].tolist()}."
        )
