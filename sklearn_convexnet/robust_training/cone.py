r"""Convex adversarial training over given patterns: search, prune, solve, certify.

.. math::

    \min_{v, w, c} \sum_k \omega_k \max_{\tilde x \in B_k} \ell\Big(\sum_i d_{ik}
        \tilde x^\top (v_i - w_i) + c, y_k\Big) + \alpha \sum_i (\|v_i\| + \|w_i\|)
    \quad \text{s.t.} \quad (2 d_{ik} - 1)\, x_k^\top v_i \ge \|r_k \circ v_i\|_*

and the same for w (Bai, Gautam & Sojoudi, arXiv 2201.01965, Section 4; `RobustProgram`). The
patterns whose blocks are zero are found by one small program each and left out first; where
rounding hides whether they are, the lower bound holds for other blocks as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from .._typing import (
    ArrayLike,
    BoolArray,
    ClassificationLoss,
    FloatArray,
    OnCheck,
    RegressionLoss,
    Seed,
)
from ..bounds.dual import Certified, tighter
from ..core.losses import Loss, balance
from ..core.network import TwoLayerReLU
from ..core.parallel import one_blas_pool
from ..program.patterns import check_patterns, distinct_patterns
from ..program.perturbation import Perturbation
from ..program.units import Solution
from ..solvers.base import Record, Result, check_options, generator
from ..solvers.descent import constant_network
from .cone_interior import ConeInterior
from .cone_program import RobustProgram, check_robust_data
from .living import candidate_patterns, largest_factors, living, undecided
from .robust_bounds import RobustDual, certify_robust, largest_projection

# features times patterns of a program: a Newton step takes the cube of it
_MOST_UNKNOWNS = 1000
# steps without a smaller gap after which rounding has the last word
_MOST_IDLE = 40


@dataclass(frozen=True)
class RobustResult(Result):
    """Outcome of `solve_robust_cone`.

    Attributes
    ----------
    network : TwoLayerReLU
        The recovered network.
    objective : float
        Worst-case objective of `network`, exact for the training rows.
    upper_bound : float
        Value of the program at a feasible point.
    lower_bound : float
        Value of its dual at a feasible point.
    gap : float
        ``(upper_bound - lower_bound) / upper_bound``.
    bounds_of : {"patterns"}
        What the bounds enclose: the optimum over the patterns of `program`. The lower bound holds
        with those of which rounding hides whether they live as well.
    n_iter : int
        Newton steps.
    status : {"optimal", "max_iter", "stalled", "stopped"}
        As in `Result`.
    history : list of dict
        One entry per check, as in `Result`.
    solution : Solution
        The feasible primal-dual point behind the bounds.
    patterns : ndarray of bool of shape (n_samples, n_candidates)
        The patterns that were tried, on the rows of positive weight.
    factors : ndarray of shape (n_candidates,)
        How much the radii may grow before each pattern dies (times a scalar epsilon: the largest
        epsilon at which it lives); inf if it never does.
    living : ndarray of bool of shape (n_candidates,)
        Whether it lives at the radii of the perturbation, as far as rounding does not hide it.
    program : RobustProgram or None
        The program over living patterns; None if there are none, and the network is a constant.
    """

    patterns: BoolArray
    factors: FloatArray
    living: BoolArray
    program: RobustProgram | None


def solve_robust_cone(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    loss: ClassificationLoss | RegressionLoss | Loss = "hinge",
    alpha: float,
    perturbation: Perturbation,
    patterns: ArrayLike | None = None,
    n_patterns: int = 50,
    n_moved: int = 0,
    fit_intercept: bool = True,
    tol: float = 1e-4,
    max_iter: int = 10_000,
    random_state: Seed = None,
    on_check: OnCheck | None = None,
) -> RobustResult:
    """Train a network on the worst case over perturbed rows, by the convex program of the paper.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        -1 or +1 for the losses of classification.
    sample_weight : array-like of shape (n_samples,), default=None
    loss : {"hinge", "log_loss", "squared_hinge", "squared_error"} or Loss, default="hinge"
    alpha : float
        Strength of the weight decay, > 0.
    perturbation : Perturbation
    patterns : array-like of bool of shape (n_samples, n_patterns), default=None
        Patterns to try; all that live enter the program. By default those of `candidate_patterns`.
    n_patterns : int, default=50
        Number of random patterns to try, and of patterns with thresholds in wide gaps. Of those
        that live at most 1000 / d enter the program, d counting the constant column: those that
        bear the largest radii.
    n_moved : int, default=0
        How many perturbed copies of the rows to draw patterns from as well.
    fit_intercept : bool, default=True
        Whether neurons have a (penalised) bias and the output an unpenalised one; neither is
        perturbed.
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=10000
        Bound on the Newton steps.
    random_state : int or RandomState, default=None
    on_check : callable, default=None
        Called with every new entry of the history; the solver stops when it returns a true value.

    Returns
    -------
    RobustResult

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.
    """
    check_options(tol, max_iter)
    for name, count, least in (("n_patterns", n_patterns, 1), ("n_moved", n_moved, 0)):
        if not (isinstance(count, Integral) and count >= least):
            raise ValueError(f"{name} must be an integer of at least {least}, got {count!r}.")
    X, y, weights, loss = check_robust_data(X, y, loss, alpha, sample_weight, perturbation)
    used = weights > 0
    if patterns is not None:
        patterns = check_patterns(patterns, len(X))[used]
        patterns = patterns[:, distinct_patterns(patterns)]
    X, y, weights = X[used], y[used], weights[used]
    centres, radii = perturbation.balls(X)
    constant = np.ones((len(X), int(fit_intercept)))
    rows = np.concatenate([centres, constant], axis=1)
    radii = np.concatenate([radii, 0.0 * constant], axis=1)
    # patterns that were given are all wanted
    most = None if patterns is not None else max(1, _MOST_UNKNOWNS // rows.shape[1])
    if patterns is None:
        patterns = candidate_patterns(
            rows,
            radii,
            weights,
            y,
            n_patterns,
            generator(random_state),
            ball=perturbation.ball,
            intercept=fit_intercept,
            n_moved=n_moved,
        )
    directions, factors = largest_factors(rows, radii, patterns, perturbation.ball)
    alive = living(factors)
    tried = {"patterns": patterns, "factors": factors, "living": alive}
    hidden = patterns[:, undecided(factors)]
    if not alive.any():
        bias, slopes = constant_network(y, weights, loss, fit_intercept=fit_intercept)
        if fit_intercept:
            slopes = balance(slopes, weights)
        pull = rows.T @ ((weights * slopes)[:, None] * hidden)
        largest = largest_projection(rows, radii, hidden, pull, perturbation.ball)
        slopes = slopes / max(1.0, largest / alpha)
        return _constant_result(
            rows.shape[1], y, weights, loss, fit_intercept, bias, slopes, tol, on_check, tried
        )
    chosen = np.sort(np.argsort(-np.where(alive, factors, 0.0), kind="stable")[:most])
    chosen = chosen[alive[chosen]]
    program = RobustProgram.from_data(
        X,
        y,
        patterns[:, chosen],
        perturbation=perturbation,
        loss=loss,
        alpha=alpha,
        sample_weight=weights,
        fit_intercept=fit_intercept,
        gates=directions[:, chosen],
    )
    with one_blas_pool(large=False):
        best, n_iter, record = _solve(program, tol, max_iter, on_check, hidden)
    network = program.network(best.solution.v, best.solution.w, best.solution.bias)
    return RobustResult(
        network=network,
        objective=program.network_objective(network),
        upper_bound=best.upper_bound,
        lower_bound=best.lower_bound,
        gap=best.gap,
        bounds_of="patterns",
        n_iter=n_iter,
        status=record.status(best.gap, tol, "max_iter" if n_iter >= max_iter else "stalled"),
        history=record.history,
        solution=best.solution,
        program=program,
        **tried,
    )


def _solve(program, tol, max_iter, on_check, hidden):
    """The interior point, certified after every step; the best point in the user's units."""
    normalised, units = program.normalised, program.clean.problem.natural_units
    record = Record(units.objective, on_check)
    bias, slopes = constant_network(
        normalised.clean.y,
        normalised.clean.weights,
        normalised.clean.loss,
        fit_intercept=normalised.clean.fit_intercept,
    )
    nothing = np.zeros((2, *normalised.clean.gates.shape))
    dual_point = RobustDual.constant(normalised, slopes)
    best = certify_robust(normalised, nothing, bias, dual_point)
    record("constant", 1, best)
    n_iter = 1
    if best.gap > tol and not record.stopped:
        method, gap, found = ConeInterior(normalised), best.gap, 0
        while best.gap > tol and method.n_iter < min(max_iter, found + _MOST_IDLE):
            if not method.step():
                break
            found_point = method.dual_point()
            certified = certify_robust(normalised, method.blocks, method.bias, found_point)
            if certified.lower_bound > best.lower_bound:
                dual_point = found_point
            best = tighter(best, certified)
            if best.gap < gap:
                gap, found = best.gap, method.n_iter
            if record("interior", method.n_iter, best):
                break
        n_iter = max(1, method.n_iter)
    if hidden.size:
        # once, at the end: what they cost the bound is not for the solver to win back
        proved = certify_robust(normalised, nothing, 0.0, dual_point, left_out=hidden)
        best = replace(best, lower_bound=min(best.lower_bound, proved.lower_bound))
        record("excluded", n_iter, best)
    point = best.solution
    v, w = program.feasible_point(units.block * point.v, units.block * point.w)
    bias = units.target * point.bias
    slopes = units.slope * point.slopes
    best = Certified(
        Solution(v, w, bias, slopes),
        program.objective(v, w, bias),
        units.objective * best.lower_bound,
        units.objective * best.resolution,
    )
    return best, n_iter, record


def _constant_result(d, y, weights, loss, fit_intercept, bias, slopes, tol, on_check, tried):
    """The constant network, with the bound that slopes prove."""
    value = float(weights @ loss.value(np.full_like(y, bias), y))
    lower = max(0.0, -float(weights @ loss.conjugate(slopes, y)))
    zero = np.zeros((d, 0))
    record = Record(1.0, on_check)
    certified = Certified(Solution(zero, zero, bias, slopes), value, min(lower, value), 1e-30)
    record("constant", 1, certified)
    return RobustResult(
        network=TwoLayerReLU.from_blocks(zero, zero, bias, has_bias_column=fit_intercept),
        objective=value,
        upper_bound=value,
        lower_bound=certified.lower_bound,
        gap=certified.gap,
        bounds_of="patterns",
        n_iter=1,
        status=record.status(certified.gap, tol, "stalled"),
        history=record.history,
        solution=certified.solution,
        program=None,
        **tried,
    )
