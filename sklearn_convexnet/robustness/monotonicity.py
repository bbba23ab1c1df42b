r"""Whether a network is monotone in a feature: its least slope over a box.

The slope :math:`\sum_j c_j [z_j > 0]`, with :math:`c_j = a_j u_{jf}` and the pre-activations
:math:`z_j = x^\top u_j + b_j`, depends on x by the set of active neurons alone. Branch and bound
over these sets is a mixed-integer program: a neuron of :math:`c_j > 0` is inactive where
:math:`z_j \le 0`, one of :math:`c_j < 0` active where :math:`z_j \ge 0`; what the others would have
to be, the objective sees to.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.optimize import LinearConstraint, linprog, milp

from .._typing import FloatArray, Limits
from ..program.perturbation import Perturbation
from .milp import TOLERANCE
from .model import Model
from .parameters import check_number, deadline_after

# how far from their hyperplanes, in units of the largest pre-activation, neurons count as certainly
# active or inactive
_INSIDE = 1e-5
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class MonotonicityBounds:
    """What is known about the slope of a network along a feature, times the sign that is wanted.

    Attributes
    ----------
    status : {"certified", "falsified", "unknown"}
        "certified": nowhere in the box the output goes the wrong way. "falsified": it does so
        between `points`. "unknown": neither was shown, for lack of time, or as it does so, if at
        all, in cells too thin to be found.
    lower : float
        Proved lower bound on the least slope.
    upper : float
        The least slope that was found, hence an upper bound.
    points : ndarray of shape (2, n_features)
        Two inputs that differ in the feature alone, which grows from the first to the second, on
        the line where the least slope was found: those between which the output goes the wrong
        way most, where it does so.
    """

    status: str
    lower: float
    upper: float
    points: FloatArray


def certify_monotonic(
    estimator: object,
    feature: int | str,
    bounds: Limits,
    *,
    monotonic_cst: int = 1,
    tol: float = 1e-5,
    time_limit: float | None = None,
) -> MonotonicityBounds:
    r"""Prove that the output of a network is monotone in a feature on a box, or find where not.

    A network fitted with `monotonic_cst` is monotone by construction. Any other may be so, too, on
    the values that occur: this tells, exactly, by branch and bound over the sets of neurons that
    can be active together. What is proved holds for the network in exact arithmetic; the tolerance
    of HiGHS is taken off the bound, and its search is trusted. Where neurons have the signs that
    make a network monotone, no search is needed, and `tol` is zero.

    Parameters
    ----------
    estimator : object
        A fitted classifier or regressor with one output, of this package, or an ``MLPClassifier``
        or ``MLPRegressor`` of scikit-learn with one hidden layer and ``activation="relu"``. Of a
        pipeline, the last step: `bounds` are in its units. Of a classifier it is about the output
        of the second class, and so about its probability.
    feature : int or str
        Number of the feature, or its name where the estimator has seen names.
    bounds : tuple (low, high)
        The box: least and greatest values of the features, finite numbers or arrays of shape
        (n_features,).
    monotonic_cst : {1, -1}, default=1
        Whether the output should increase, or decrease.
    tol : float, default=1e-5
        A slope that is not further below zero than this share of what the neurons have in it, all
        signs the same, counts as zero: solvers of mixed-integer programs are no more accurate than
        a millionth.
    time_limit : float, default=None
        In seconds. What is open then is "unknown", with valid bounds.

    Returns
    -------
    MonotonicityBounds

    See Also
    --------
    certify : The range of the outputs for perturbed inputs.

    Notes
    -----
    Only neurons that may change sign in the box, and that have a weight for the feature, count;
    the work grows exponentially with their number in the worst case.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLURegressor
    >>> from sklearn_convexnet.robustness import certify_monotonic
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> y = X[:, 0] - np.sin(4 * X[:, 0])
    >>> box = (-1.0, 1.0)
    >>> free = ConvexReLURegressor(random_state=0).fit(X, y)
    >>> result = certify_monotonic(free, 0, box)
    >>> result.status
    'falsified'
    >>> bool(np.diff(free.predict(result.points)) < 0)
    True
    >>> monotone = ConvexReLURegressor(monotonic_cst=[1], random_state=0).fit(X, y)
    >>> certify_monotonic(monotone, 0, box).status
    'certified'
    """
    deadline = deadline_after(time.perf_counter(), time_limit)
    check_number("tol", tol, above=0.0)
    model = Model.of(estimator)
    if len(model.network.output_biases) != 1:
        raise ValueError(
            "estimator must have one output, got one with "
            f"{len(model.network.output_biases)} outputs."
        )
    if isinstance(monotonic_cst, bool) or monotonic_cst not in (1, -1):
        raise ValueError(f"monotonic_cst must be 1 or -1, got {monotonic_cst!r}.")
    f, (low, high) = _index(model, feature), _box(model, bounds)
    if low[f] == high[f]:
        raise ValueError(f"bounds must leave feature {feature!r} a range, got {bounds!r}.")
    slopes = _Slopes(model.network, f, low, high, monotonic_cst)
    lower, (upper, points) = slopes.crude_bound(), slopes.along(slopes.middle)
    enough, unseen = 0.0, tol * slopes.size
    # with the borders of the cells; where nothing is found there, only what is away from them
    for inside in (0.0, _INSIDE):
        found = inside and upper < -unseen and slopes.fall(points)
        if lower >= enough or found or time.perf_counter() >= deadline:
            break
        enough = -unseen
        bound, point = slopes.minimise(inside, deadline)
        lower = lower if inside else max(lower, bound)
        upper, points = min((upper, points), slopes.along(point), key=lambda found: found[0])
    falsified = upper < -unseen and slopes.fall(points)
    status = "certified" if lower >= enough else "falsified" if falsified else "unknown"
    return MonotonicityBounds(status, min(lower, upper), upper, points)


def _index(model, feature):
    """The number of a feature."""
    names, d = model.feature_names, len(model.network.hidden_weights)
    if isinstance(feature, str):
        known = [] if names is None else list(names)
        if feature not in known:
            raise ValueError(f"feature must be a name seen in fit, got {feature!r} for {known}.")
        return known.index(feature)
    if isinstance(feature, bool) or not isinstance(feature, Integral) or not 0 <= feature < d:
        raise ValueError(f"feature must be a name or an integer in [0, {d}), got {feature!r}.")
    return int(feature)


def _box(model, bounds):
    """The least and the greatest value of every feature."""
    d = len(model.network.hidden_weights)
    # none is no box
    ends = Perturbation(0.0, bounds=() if bounds is None else bounds).bounds
    for end in ends:
        if not np.isfinite(end).all() or end.shape not in ((), (d,)):
            raise ValueError(
                f"bounds must be finite numbers or have one entry per feature ({d}), got "
                f"{bounds!r}."
            )
    return (np.broadcast_to(end, d).astype(np.float64) for end in ends)


class _Slopes:
    """The slope along a feature on a box, times the sign that is wanted."""

    def __init__(self, network, feature, low, high, sign):
        self.network, self.feature, self.sign = network, feature, sign
        self.low, self.high = low, high
        self.middle = 0.5 * (low + high)
        weights, biases = network.hidden_weights, network.hidden_biases
        self.terms = sign * weights[feature] * network.output_weights[:, 0]
        middle, radius = self.middle @ weights + biases, 0.5 * (high - low) @ np.abs(weights)
        # so that rounding hides no neuron that may change sign
        largest = np.maximum(np.abs(low), np.abs(high)) @ np.abs(weights) + np.abs(biases)
        radius += 4.0 * (len(low) + 4.0) * _EPS * largest
        self.least, self.most = middle - radius, middle + radius
        self.size = float(np.abs(self.terms).sum())
        used = self.terms != 0
        self.constant = float(self.terms[used & (self.least >= 0)].sum())
        self.open = np.flatnonzero(used & (self.least < 0) & (self.most > 0))

    def crude_bound(self):
        """A proved lower bound: neurons that may change sign are taken to be what is worst."""
        certain = self.terms[(self.terms != 0) & (self.least >= 0)]
        worst = np.concatenate([certain, np.minimum(self.terms[self.open], 0.0)])
        # rounding of terms of one sign leaves the sign
        rounding = (len(worst) + 4.0) * _EPS * np.abs(worst).sum() if (worst < 0).any() else 0.0
        return float(worst.sum() - rounding)

    def minimise(self, inside, deadline):
        """A proved lower bound, and a point where the slope is least.

        With `inside` neurons are no nearer to their borders than that.
        """
        terms, (least, most) = self.terms[self.open], (self.least[self.open], self.most[self.open])
        weights = self.network.hidden_weights[:, self.open]
        biases = self.network.hidden_biases[self.open]
        # coordinates of the box from 0 to 1, of the features that count and have a width
        width = self.high - self.low
        free = np.flatnonzero((width > 0) & weights.any(axis=1))
        size = np.maximum(-least, most)
        moves, start = (
            (weights[free] * width[free, None] / size).T,
            (self.low @ weights + biases) / size,
        )
        least, most = least / size, most / size
        adds, eye = terms > 0, np.eye(len(terms))
        # an inactive neuron that adds has z <= 0, an active one that subtracts z >= 0
        constraints = [
            LinearConstraint(
                np.hstack([moves, -(most + inside)[:, None] * eye])[adds],
                -np.inf,
                (-inside - start)[adds],
            ),
            LinearConstraint(
                np.hstack([moves, (least - inside)[:, None] * eye])[~adds],
                (least - start)[~adds],
                np.inf,
            ),
        ]
        total = np.abs(terms).sum()
        options = {"mip_rel_gap": 0.0}
        if np.isfinite(deadline):
            options["time_limit"] = max(deadline - time.perf_counter(), 0.0)
        result = milp(
            np.concatenate([np.zeros(len(free)), terms / total]),
            integrality=np.repeat([0, 1], [len(free), len(terms)]),
            bounds=(0.0, 1.0),
            constraints=[part for part in constraints if len(part.A)],
            options=options,
        )
        bound = -np.inf if result.mip_dual_bound is None else result.mip_dual_bound
        point = self.middle.copy()
        if result.x is not None:
            active = result.x[len(free) :] > 0.5
            # where those that must be are as far from their borders as can be
            sides = np.where(adds & ~active, 1.0, 0.0) - np.where(~adds & active, 1.0, 0.0)
            shares = _centre(sides[:, None] * moves, -sides * start, result.x[: len(free)])
            point[free] = self.low[free] + width[free] * shares
        return float(self.constant + total * (bound - TOLERANCE)), point

    def along(self, point):
        """The least slope on the line through a point along the feature, and the largest fall."""
        network, f = self.network, self.feature
        ends = self.low[f], self.high[f]
        weights = network.hidden_weights[f]
        heights = point @ network.hidden_weights + network.hidden_biases
        bent = weights != 0
        kinks = point[f] - heights[bent] / weights[bent]
        kinks = np.unique(np.clip(np.append(kinks, ends), *ends))
        middles = 0.5 * (kinks[1:] + kinks[:-1])
        active = heights + (middles[:, None] - point[f]) * weights > 0
        values = active @ self.terms
        heights = np.append(0.0, np.cumsum(values * np.diff(kinks)))
        falls = np.maximum.accumulate(heights) - heights
        last = max(int(falls.argmax()), 1)
        first = int(heights[:last].argmax())
        points = np.stack([point, point])
        points[:, f] = kinks[first], kinks[last]
        return float(values.min()), points

    def fall(self, points):
        """Whether the output goes the wrong way from one point to the other."""
        first, second = self.sign * self.network(points)[:, 0]
        return bool(second < first)


def _centre(moves, limits, start):
    """The point of the unit box with the largest slack in ``moves @ x <= limits``, or the start."""
    kept = moves.any(axis=1)
    slack = np.hstack([moves[kept], np.ones((kept.sum(), 1))])
    goal = -np.eye(len(start) + 1)[-1]
    found = linprog(goal, slack, limits[kept], bounds=[(0.0, 1.0)] * len(start) + [(0.0, 1.0)])
    return np.clip(start if found.x is None else found.x[:-1], 0.0, 1.0)
