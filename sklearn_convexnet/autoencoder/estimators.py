"""The two gated sparse autoencoders as transformers of scikit-learn."""

from __future__ import annotations

import warnings
from itertools import islice
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from .._compat import (
    FIT_WRAPPERS,
    HAS_CALLBACKS,
    CallbackSupportMixin,
    DocumentationLinkMixin,
    Interval,
    StrOptions,
    fit_context,
    validate_data,
)
from .._persistence import VersionedPickle
from .._typing import Array, ArrayLike, FloatArray, Seed
from . import metrics
from .model import Autoencoder
from .training import Settings, Trainer, minibatches

# rows that are encoded at a time: bounds the memory of a transform beside its result
CHUNK = 4096
# loss of reconstructions, in units of that of the mean, from which training has gone astray
_DIVERGED = 2.0


class BaseGatedAutoencoder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DocumentationLinkMixin,
    VersionedPickle,
    BaseEstimator,
):
    """Training and coding common to both autoencoders; subclasses say how gates begin."""

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "auxiliary": ["boolean"],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_warmup": [Interval(Integral, 0, None, closed="left")],
        "alpha_warmup": [Interval(Integral, 0, None, closed="left")],
        "dead_latents": [StrOptions({"reset", "resample"}), None],
        "dead_after": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    components_: FloatArray
    encoder_: FloatArray
    intercept_: FloatArray
    thresholds_: FloatArray
    gains_: FloatArray
    offsets_: FloatArray
    history_: list[dict[str, Any]]
    n_iter_: int
    n_features_in_: int
    feature_names_in_: Array

    def _gates(self):
        """Whether latents have two sides, whether these are tied, and the first threshold."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Train from a new start.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data. Its dtype, float32 or float64, is that of the training.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        X = self._validate(X, reset=True)
        start = self._start(X)
        batches = minibatches(X, self.batch_size, start[0].rng)
        return self._run(X, start, islice(batches, self.max_iter), n_steps=self.max_iter)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: ArrayLike, y: None = None) -> Self:
        """Train by one pass over the rows, in their order, in batches of `batch_size`.

        The first call, when there was no fit before, takes centre and scale from its X, whose rows
        must not all be equal: else there is a ValueError, and so there is when `n_components` or
        `tied` is not as it was. The learning rate does not fall in the end, as no end is known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.
        """
        first = not hasattr(self, "_state")
        X = self._validate(X, reset=first)
        batches = (X[rows] for rows in gen_batches(len(X), self.batch_size))
        state = self._start(X) if first else self._state
        self._check_going_on(X.shape[1], *state)
        if first:
            return self._run(X, state, batches)
        trainer, *units = state
        drawn = trainer.rng.get_state(legacy=False)
        try:
            # a copy: an error or Ctrl-C leaves the state of the last call to go on from
            return self._run(X, (trainer.copy(), *units), batches, history=self.history_)
        except BaseException:
            trainer.rng.set_state(drawn)
            raise

    def transform(self, X: ArrayLike) -> FloatArray:
        """Encode samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            Their codes, most of them zero.
        """
        check_is_fitted(self, "components_")
        X = self._validate(X, reset=False)
        codes = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in gen_batches(len(X), CHUNK):
                codes[rows] = self._model.encode(X[rows])
        return _finite("codes", codes, X)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Reconstruct samples from codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            What the codes stand for.
        """
        check_is_fitted(self, "components_")
        X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X must be codes of {self._n_features_out} columns, got {X.shape[1]} columns."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self._model.decode(X).astype(X.dtype, copy=False)
        return _finite("reconstructions", rows, X)

    def score(self, X: ArrayLike, y: None = None) -> float:
        """Share of the variance of samples, all features together, that is reconstructed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            R², at most 1; see `sklearn_convexnet.autoencoder.r2`.
        """
        check_is_fitted(self, "components_")
        X = self._validate(X, reset=False)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = [
                self._model.decode(self._model.encode(X[chunk]))
                for chunk in gen_batches(len(X), CHUNK)
            ]
        return metrics.r2(X, _finite("reconstructions", np.concatenate(rows), X))

    @property
    def _n_features_out(self):
        return len(self.components_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate(self, X, *, reset):
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=reset)

    def _start(self, X):
        """A new autoencoder in training, and the centre and the scale of its units.

        In these the data has mean zero and rows of mean squared length one, so that `alpha` and
        `learning_rate` mean the same for all data. The scale of rows that are all equal is zero.
        """
        center = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = [
                np.square(X[rows] - center).sum(dtype=np.float64)
                for rows in gen_batches(len(X), CHUNK)
            ]
            scale = float(np.sqrt(sum(squares) / len(X)))
        if not np.isfinite(scale):
            raise ValueError(
                f"X must not be so large that its squares overflow, got {np.abs(X).max():.1e}: "
                "rescale it."
            )
        rng = check_random_state(self.random_state)
        two_sided, tied, _ = self._gates()
        model = Autoencoder.start(
            self._structure(X.shape[1])["n_components"],
            X.shape[1],
            rng,
            threshold=self._threshold(X.shape[1]),
            two_sided=two_sided,
            tied=tied,
            dtype=X.dtype,
        )
        differ = scale > np.finfo(X.dtype).tiny and bool((X != X[0]).any())
        return Trainer(model, rng), center, scale if differ else 0.0

    def _structure(self, n_features):
        """The parameters that the shapes of the weights depend on, a dict."""
        return {"n_components": self.n_components or 2 * n_features}

    def _check_going_on(self, n_features, trainer, center, scale):
        """Raise a ValueError where `partial_fit` cannot train what there is any further."""
        if scale == 0.0:
            raise ValueError(
                "X must have rows that differ where a training that partial_fit goes on with begins"
                ", as they are the scale of all that follow: it had equal ones, or 1 sample."
            )
        model = trainer.model
        known = {"n_components": len(model.encoder), "tied": len(model.gate_bias) == 1}
        for name, value in self._structure(n_features).items():
            if value != known[name]:
                raise ValueError(
                    f"{name} must be {known[name]}, as it was when training began, got "
                    f"{getattr(self, name)!r}. Use fit to begin anew."
                )

    def _threshold(self, n_features):
        """The first threshold, in the units of the training."""
        return self._gates()[2] / np.sqrt(n_features)

    def _settings(self, n_features):
        return Settings(
            alpha=float(self.alpha),
            auxiliary=self.auxiliary,
            learning_rate=float(self.learning_rate),
            alpha_warmup=self.alpha_warmup,
            learning_rate_warmup=self.learning_rate_warmup,
            dead_latents=self.dead_latents,
            dead_after=self.dead_after,
            threshold=self._threshold(n_features),
        )

    def _run(self, X, state, batches, *, n_steps=None, history=()):
        """Train on batches in the units of X, then set the fitted attributes."""
        trainer, center, scale = state
        scale = scale or 1.0
        task = None
        if HAS_CALLBACKS:
            task = self._init_callback_context(max_subtasks=None)
            task.call_on_fit_task_begin(estimator=self, X=X)
        name = f"[{type(self).__name__}] "
        columns = ["reconstruction", "sparsity", *["auxiliary"] * self.auxiliary, "l0", "dead"]
        if self.verbose:
            print(f"{name}{'step':>8}" + "".join(f"{one:>15}" for one in columns) + f"{'time':>9}")

        def report(entry):
            if self.verbose:
                numbers = "".join(f"{entry[one]:>15.4g}" for one in columns)
                print(f"{name}{entry['iteration']:>8}{numbers}{entry['time']:>8.2f}s")
            if task is not None:
                check = task.subcontext("check")
                check.history_entry = entry
                check.call_on_fit_task_begin(estimator=self)
                return check.call_on_fit_task_end(estimator=self)

        scaled = ((batch - center) / scale for batch in batches)
        settings = self._settings(X.shape[1])
        entries = trainer.run(scaled, settings, n_steps=n_steps, on_check=report)
        self.history_ = [*history, *entries]
        self.n_iter_ = trainer.n_steps
        self._state = state
        self._model = model = trainer.model.in_units(center, scale)
        self.components_, self.intercept_ = model.decoder, model.decoder_bias
        self.encoder_ = model.encoder
        self.thresholds_ = 0 - model.gate_bias
        self.gains_ = np.exp(model.log_gain)
        self.offsets_ = model.offset
        self._warn_if_diverged(entries)
        if task is not None:
            task.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes={})
        return self

    def _warn_if_diverged(self, entries):
        """After some hundred steps reconstructions are better than the mean, whose loss is 1."""
        loss = entries[-1]["reconstruction"]
        if len(entries) > 1 and loss > _DIVERGED:
            warnings.warn(
                f"{type(self).__name__} reconstructs the samples {loss:.1e} times worse than their "
                f"mean does: decrease learning_rate, got {self.learning_rate!r}, or, where it is "
                "tiny, take more steps.",
                ConvergenceWarning,
                stacklevel=4 + FIT_WRAPPERS,  # the caller of fit
            )


def _finite(name, values, X):
    if not np.isfinite(values).all():
        raise ValueError(
            f"The {name} are not finite: X holds values too large for the dtype {X.dtype} "
            f"(largest |X| {np.abs(X).max():.1e})."
        )
    return values


class GatedSparseAutoencoder(BaseGatedAutoencoder):
    r"""Gated sparse autoencoder: a dictionary, and codes that are sparse and not negative.

    With :math:`z = W_\mathrm{enc}(x - b_\mathrm{dec})` the code of a latent is
    :math:`f = 1[z > \theta] \, (e^r z + c)_+` and the reconstruction
    :math:`\hat x = W_\mathrm{dec}^\top f + b_\mathrm{dec}`. Whether a latent fires is decided apart
    from how strongly; the penalty is on the first alone, so that codes do not shrink
    (Rajamanoharan et al. [1]_). Training minimises the mean over samples of

    .. math::

        \|x - \hat x\|^2 + \alpha \sum_i (z_i - \theta_i)_+
            + \|x - \bar W_\mathrm{dec}^\top (z - \theta)_+ - \bar b_\mathrm{dec}\|^2

    by mini-batches with Adam. In the last term, the auxiliary one, the decoder is a constant: the
    gates learn from it and from the penalty, as the step function has no derivative. Decoder rows
    have length one.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of latents; None: twice the number of features.

    alpha : float, default=0.2
        Weight of the penalty, >= 0: the larger, the sparser. It has no unit: in training the data
        is centred, and scaled to rows of mean squared length one.

    auxiliary : bool, default=True
        Whether there is an auxiliary term. Without it only the penalty moves the thresholds, and
        the latents die; for comparisons.

    learning_rate : float, default=0.003
        Step of Adam, > 0. In the last fifth of the steps of `fit` it falls to zero. A ValueError
        says so when training diverges.

    batch_size : int, default=256
        Samples of a step; all, if there are fewer.

    max_iter : int, default=2000
        Number of steps of `fit`, a batch each.

    learning_rate_warmup : int, default=100
        Steps in which the learning rate rises to its value, also after latents were resampled.

    alpha_warmup : int, default=500
        Steps in which the weight of the penalty rises to its value.

    dead_latents : {"reset", "resample"} or None, default="resample"
        What happens to dead latents. "reset": gate, gain and offset start anew. "resample": the
        direction too, as that of a sample with a large error. None: nothing.

    dead_after : int, default=200
        A latent is dead when it has not fired for that many steps. At every multiple of them
        dead latents are dealt with, except in the last fifth of a fit.

    random_state : int, RandomState instance or None, default=None
        Of the first directions, the order of samples, and resampling. Pass an int for reproducible
        results.

    verbose : bool or int, default=False
        Whether to print a line per hundred steps.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Decoder: a direction of length one for every latent.

    encoder_ : ndarray of shape (n_components, n_features)
        Encoder :math:`W_\mathrm{enc}`.

    intercept_ : ndarray of shape (n_features,)
        :math:`b_\mathrm{dec}`, taken off before the encoder and added after the decoder.

    thresholds_ : ndarray of shape (1, n_components)
        :math:`\theta`, in the units of X.

    gains_ : ndarray of shape (1, n_components)
        :math:`e^r`.

    offsets_ : ndarray of shape (1, n_components)
        c, in the units of X.

    history_ : list of dict
        An entry per hundred steps, and one for the rest: "iteration", the means since the last one
        of "reconstruction", "sparsity" and (if there is such a term) "auxiliary" in the units of
        training, and of "l0", the number of non-zero codes of a sample; "dead", the share of dead
        latents; "time" in seconds.

    n_iter_ : int
        Number of steps taken, those of `partial_fit` included.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    SignAwareGatedSparseAutoencoder : Signed codes.
    sklearn.decomposition.MiniBatchDictionaryLearning : Codes by optimisation instead of an encoder.

    References
    ----------
    .. [1] S. Rajamanoharan et al., "Improving Dictionary Learning with Gated Sparse Autoencoders",
       arXiv:2404.16014.

    Examples
    --------
    >>> from sklearn_convexnet import GatedSparseAutoencoder
    >>> from sklearn_convexnet.datasets import make_antipodal_features
    >>> X, _, _ = make_antipodal_features(2000, 16, n_pairs=8, n_active=1, random_state=0)
    >>> model = GatedSparseAutoencoder(16, max_iter=500, random_state=0).fit(X)
    >>> model.transform(X).shape
    (2000, 16)
    >>> bool(model.score(X) > 0.8)
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: float = 0.2,
        auxiliary: bool = True,
        learning_rate: float = 0.003,
        batch_size: int = 256,
        max_iter: int = 2000,
        learning_rate_warmup: int = 100,
        alpha_warmup: int = 500,
        dead_latents: Literal["reset", "resample"] | None = "resample",
        dead_after: int = 200,
        random_state: Seed = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.auxiliary = auxiliary
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.learning_rate_warmup = learning_rate_warmup
        self.alpha_warmup = alpha_warmup
        self.dead_latents = dead_latents
        self.dead_after = dead_after
        self.random_state = random_state
        self.verbose = verbose

    def _gates(self):
        return False, True, 0.0


class SignAwareGatedSparseAutoencoder(BaseGatedAutoencoder):
    r"""Sign-aware gated sparse autoencoder: a latent stands for a direction and its opposite.

    Codes are sparse and *signed*. With :math:`z = W_\mathrm{enc}(x - b_\mathrm{dec})` a latent has
    a gate on both sides,

    .. math::

        f = 1[z > \theta^+] \, (e^{r^+} z + c^+)_+ - 1[-z > \theta^-] \, (-e^{r^-} z + c^-)_+ ,
        \qquad \theta^\pm \ge 0 ,

    which never are open together; with c = 0 that is a JumpReLU on both sides. Features that come
    as opposites need one latent instead of two. The loss is that of `GatedSparseAutoencoder`, with
    both gates :math:`\pi^\pm = \pm z - \theta^\pm` in the penalty and in the auxiliary term,

    .. math::

        \|x - \hat x\|^2 + \alpha \sum_i [(\pi_i^+)_+ + (\pi_i^-)_+]
            + \|x - \bar W_\mathrm{dec}^\top [(\pi^+)_+ - (\pi^-)_+] - \bar b_\mathrm{dec}\|^2 .

    The idea is that of Wieciech et al. [1]_; these formulas are our reading of its abstract, from
    the gated autoencoder of [2]_.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of latents; None: twice the number of features. Where features come as opposites,
        half of what a `GatedSparseAutoencoder` has will do.

    alpha : float, default=0.2
        Weight of the penalty, >= 0: the larger, the sparser. It has no unit: in training the data
        is centred, and scaled to rows of mean squared length one.

    tied : bool, default=True
        Whether the two sides of a latent share threshold, gain and offset.

    threshold : float, default=0.05
        Threshold at the start, >= 0, in units of the root mean square deviation of a feature.
        Small, but not zero, at which all latents fire on all samples.

    auxiliary : bool, default=True
        Whether there is an auxiliary term. Without it only the penalty moves the thresholds, and
        the latents die; for comparisons.

    learning_rate : float, default=0.003
        Step of Adam, > 0. In the last fifth of the steps of `fit` it falls to zero. A ValueError
        says so when training diverges.

    batch_size : int, default=256
        Samples of a step; all, if there are fewer.

    max_iter : int, default=2000
        Number of steps of `fit`, a batch each.

    learning_rate_warmup : int, default=100
        Steps in which the learning rate rises to its value, also after latents were resampled.

    alpha_warmup : int, default=500
        Steps in which the weight of the penalty rises to its value.

    dead_latents : {"reset", "resample"} or None, default="reset"
        What happens to dead latents. "reset": threshold, gain and offset start anew. "resample":
        the direction too, as that of a sample with a large error. None: nothing.

    dead_after : int, default=200
        A latent is dead when it has not fired for that many steps. At every multiple of them
        dead latents are dealt with, except in the last fifth of a fit.

    random_state : int, RandomState instance or None, default=None
        Of the first directions, the order of samples, and resampling. Pass an int for reproducible
        results.

    verbose : bool or int, default=False
        Whether to print a line per hundred steps.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Decoder: a direction of length one for every latent.

    encoder_ : ndarray of shape (n_components, n_features)
        Encoder :math:`W_\mathrm{enc}`.

    intercept_ : ndarray of shape (n_features,)
        :math:`b_\mathrm{dec}`, taken off before the encoder and added after the decoder.

    thresholds_ : ndarray of shape (1, n_components) or (2, n_components)
        :math:`\theta`, in the units of X: of the positive and of the negative side, or one row for
        both.

    gains_ : ndarray of shape (1, n_components) or (2, n_components)
        :math:`e^r`.

    offsets_ : ndarray of shape (1, n_components) or (2, n_components)
        c, in the units of X.

    history_ : list of dict
        An entry per hundred steps, and one for the rest: "iteration", the means since the last one
        of "reconstruction", "sparsity" and (if there is such a term) "auxiliary" in the units of
        training, and of "l0", the number of non-zero codes of a sample; "dead", the share of dead
        latents; "time" in seconds.

    n_iter_ : int
        Number of steps taken, those of `partial_fit` included.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    GatedSparseAutoencoder : Codes that are not negative.
    sklearn.decomposition.MiniBatchDictionaryLearning : Codes by optimisation instead of an encoder.

    References
    ----------
    .. [1] Wieciech et al., the sign-aware gated sparse autoencoder, arXiv:2605.28149.
    .. [2] S. Rajamanoharan et al., "Improving Dictionary Learning with Gated Sparse Autoencoders",
       arXiv:2404.16014.

    Examples
    --------
    >>> from sklearn_convexnet import SignAwareGatedSparseAutoencoder
    >>> from sklearn_convexnet.autoencoder import recovered_fraction
    >>> from sklearn_convexnet.datasets import make_antipodal_features
    >>> X, _, directions = make_antipodal_features(2000, 16, n_pairs=8, n_active=1, random_state=0)
    >>> model = SignAwareGatedSparseAutoencoder(8, max_iter=500, random_state=0).fit(X)
    >>> recovered_fraction(model.components_, directions, signed=True)
    1.0
    """

    _parameter_constraints = {
        **BaseGatedAutoencoder._parameter_constraints,
        "tied": ["boolean"],
        "threshold": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: float = 0.2,
        tied: bool = True,
        threshold: float = 0.05,
        auxiliary: bool = True,
        learning_rate: float = 0.003,
        batch_size: int = 256,
        max_iter: int = 2000,
        learning_rate_warmup: int = 100,
        alpha_warmup: int = 500,
        dead_latents: Literal["reset", "resample"] | None = "reset",
        dead_after: int = 200,
        random_state: Seed = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.tied = tied
        self.threshold = threshold
        self.auxiliary = auxiliary
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.learning_rate_warmup = learning_rate_warmup
        self.alpha_warmup = alpha_warmup
        self.dead_latents = dead_latents
        self.dead_after = dead_after
        self.random_state = random_state
        self.verbose = verbose

    def _gates(self):
        return True, self.tied, float(self.threshold)

    def _structure(self, n_features):
        return super()._structure(n_features) | {"tied": self.tied}
