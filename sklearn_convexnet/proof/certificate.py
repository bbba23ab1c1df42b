r"""What is known about a fitted network against all networks, in numbers and in sentences.

For slopes p of the loss that the dual admits and :math:`\lambda = \omega \circ p`, every two-layer
ReLU network of any width with one output has an objective of at least

.. math:: -\sum_k \omega_k \ell^*(p_k / \kappa), \qquad
    \kappa = \max\Big(1, \tfrac1\alpha \max_{\|u\| \le 1} |\lambda^\top (X u)_+|\Big).

The inner maximum ("pricing") decides what kind of statement that is:

exact
    the maximum was enclosed, over all activation patterns or by branch and bound, and what that
    proves is within the tolerance of the objective of a network.
bound
    a proved upper bound on the maximum: branch and bound was stopped, the dual variables are not
    good enough, or a closed form was used. The closed form is

    .. math:: \lambda^\top (Xu)_+ = \tfrac12 \lambda^\top X u + \tfrac12 \lambda^\top |X u|
        \le \tfrac12 \|X^\top\lambda\| + \tfrac12 \sqrt{\textstyle\sum_k \lambda_k^+ \,
        \sigma_{\max}(X^\top \mathrm{diag}(\lambda^+) X)} .
searched
    the largest value that local ascents have found: an estimate, not a proof. If none of N ascents
    from independent random directions finds more, then with confidence :math:`1 - \psi` the share
    of directions from which an ascent would find more is at most :math:`1 - \psi^{1/N}`: a share
    :math:`\xi` escapes all N with probability :math:`(1 - \xi)^N`. For K outputs each gets
    :math:`\psi / K`, and the N directions are drawn after the dual variables were chosen.

With K outputs the bounds add up to one over the networks whose outputs share *no* neuron. A neuron
that several outputs share costs less: :math:`\|u\| \|a\|_2` instead of
:math:`\|u\| \|a\|_1`. With :math:`m_c` the maximum of output c, no neuron gains more than
:math:`\|\Lambda^\top (Xu)_+\|_2 \le (\sum_c m_c^2)^{1/2}`. So over *all* networks the objective
is at least

.. math:: -\sum_c \sum_k \omega_k \ell^*(p_{kc} / \kappa), \qquad
    \kappa = \max\Big(1, \big(\textstyle\sum_c (m_c / \alpha_c)^2\big)^{1/2}\Big),

where a shared neuron is charged as `TwoLayerReLU.objective` does.
"""

import math
import time
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any

import numpy as np

from ..bounds.dual import admissible_slopes, dual_norms, dual_value, less_rounding, relative_gap
from ..bounds.pricing import bound_of_sums
from ..bounds.search import SearchedDual, search_dual
from ..core.monotone import clipped
from ..core.parallel import ALONE, Workers, one_blas_pool
from ..core.rows import (
    by_row,
    dense,
    fits_dense,
    is_wide,
    largest_singular_value,
    row_norms,
    transposed_times,
)
from ..core.rows import largest as largest_entry
from ..program.problem import NormalisedProblem
from .column_generation import tighten
from .pricing_tree import pricing_maximum

# shares of the tolerance: the gap that branch and bound is asked for, to be below after rounding;
# what the dual variables may lose of it before
_AIM, _DUAL_SHARE = 0.98, 0.1
# confidence of the statement about what a search may have missed
CONFIDENCE = 0.99
# random ascents, but for a certificate with a time limit
_FEW_STARTS = 100
# the largest proved gap that is called exact, whatever the tolerance
_EXACT = 0.05
# seconds of the first turn of column generation and branch and bound
_FIRST_TURN = 2.0
# doublings of the work that more time may bring
_WITHIN_REACH = 8.0
_EPS = np.finfo(np.float64).eps
# what cells that `enumerate_gates` leaves out may gain, next to the sizes of the terms
_NARROWEST = 1e-12


# what the lower bound and the gap of a certificate speak of: two-layer ReLU networks of any width
_WHICH = {
    "all": "",
    "unshared": " whose outputs share no neuron",
    "monotone": " whose neurons keep to monotonic_cst",
}


@dataclass(frozen=True)
class Certificate:
    """A statement about the training objective of a network.

    Attributes
    ----------
    kind : {"exact", "bound", "searched"}
        What `lower_bound` is. "exact": proved, and tight: within the tolerance (that of the fit, or
        the `tol` of the method `certificate`, at most 5 %) of this network's objective, or of that
        of another network. "bound": proved, but it may be far from tight. "searched": an
        estimate from the best neurons that a search has found.
    objective : float
        Objective of the network.
    lower_bound : float
        No network among `networks` has an objective below this; for "searched", if the search has
        missed nothing.
    gap : float
        ``(objective - lower_bound) / objective``, at most 1 since objectives are non-negative.
    detail : dict
        "proved_lower_bound", over `networks`, and, unless all patterns are known,
        "searched_lower_bound" with "n_starts", "share" and "confidence" of the search (not after a
        fit on Dask collections); "exhaustive" where all are known. With several outputs
        "shared_lower_bound": proved over all two-layer ReLU networks of any width, those whose
        outputs share neurons too. With a time limit "n_cones" of branch and bound,
        "known_objective", the least objective of a network that was found on the way where that is
        below `objective`, and "out_of_time", a sentence, where it was. When made in `fit`:
        "program_upper_bound", "program_lower_bound" and "program_gap" of the convex program that
        was solved, its "n_patterns", the "n_directions" that they are of, and whether these were
        "fixed_directions", as with ``solver="scp"``.
    networks : {"all", "unshared", "monotone"}
        What `lower_bound` and `gap` speak of: "all" two-layer ReLU networks of any width, or with
        several outputs those among them whose outputs share no neuron ("unshared"), or those whose
        neurons keep to `monotonic_cst` ("monotone").
    """

    kind: str
    objective: float
    lower_bound: float
    gap: float
    detail: dict[str, Any] = field(default_factory=dict)
    networks: str = "all"

    def __str__(self) -> str:
        detail, lines = self.detail, []
        if "program_gap" in detail:
            which = "all" if "exhaustive" in detail else "the chosen"
            what = f"over {which} {detail['n_patterns']} activation patterns"
            if detail["fixed_directions"]:
                what = f"over a first layer of {detail['n_directions']} fixed directions"
            solved = detail["program_gap"] <= _EXACT
            lines.append(
                f"{'Solved' if solved else 'Left open'}: the convex program {what}, to a relative "
                f"duality gap of {detail['program_gap']:.1e}."
            )
        optimum = (
            f"the optimum over all two-layer ReLU networks of any width{_WHICH[self.networks]}"
        )
        if self.kind == "exact":
            lines.append(
                f"Proved: the objective {self.objective:.6g} is within {_up(self.gap)} % of "
                f"{optimum}."
            )
            if "known_objective" in detail:
                lines[-1] = (
                    f"{lines[-1][:-1]}, which is at least {_down(self.lower_bound)} and at most "
                    f"{_down(detail['known_objective'], ROUND_CEILING)}."
                )
        else:
            # a fit on many machines does not search
            if "searched_lower_bound" in detail:
                searched = relative_gap(self.objective, detail["searched_lower_bound"])
                lines.append(
                    f"Searched: the objective {self.objective:.6g} is within {_up(searched)} % "
                    f"of {optimum}, if the search has missed no neuron (with "
                    f"{100 * detail['confidence']:.0f} % confidence, at most "
                    f"{100 * detail['share']:.1f} % of random starts would find a better one)."
                )
            lines.append(self._proved("proved_lower_bound", _WHICH[self.networks]))
        if "shared_lower_bound" in detail:
            lines.append(self._proved("shared_lower_bound", ", with shared neurons or without,"))
        if "out_of_time" in detail:
            lines.append(f"Out of time: {detail['out_of_time']}")
        return "\n".join(lines)

    def _proved(self, name, which):
        bound = self.detail[name]
        gap = relative_gap(self.objective, bound)
        return (
            f"Proved: no two-layer ReLU network of any width{which} has an objective below "
            f"{_down(bound)} (this one has {self.objective:.6g}: a gap of {_up(gap)} %); the "
            "bound is valid but need not be tight."
        )


def _down(value, rounding=ROUND_FLOOR):
    """A number in six digits that is not above it: what is printed is proved as well."""
    return f"{float(Context(6, rounding).create_decimal_from_float(float(value))):.6g}"


def _up(gap):
    """A gap in percent, in two digits that are not below it."""
    return f"{float(Context(2, ROUND_CEILING).create_decimal_from_float(100.0 * gap)):.2g}"


def pricing_bound(rows, multipliers, monotone=None):
    r"""Proved upper bound on :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+|`: `bound_of_sums`.

    Of several outputs it is one on :math:`\max_{\|u\| \le 1} \|\Lambda^\top (X u)_+\|_2`:

    .. math:: \tfrac12 \sigma_{\max}(X^\top \Lambda) + \tfrac12 \sqrt{\sum_k \|\Lambda_k\|}\;
        \sigma_{\max}\big(\mathrm{diag}(\|\Lambda_k\|)^{1/2} X\big) .

    Over directions of a convex cone, as those of monotone neurons that add, or that subtract, the
    linear part is at most half the norm of the projection of :math:`X^\top \lambda` on it.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    multipliers : ndarray of shape (n,) or (n, n_outputs)
        The :math:`\lambda`.
    monotone : ndarray of int of shape (d,), default=None
        Of one output in a column, see `TrainingProblem`; :math:`\lambda` is then what neurons that
        add gain of.

    Returns
    -------
    float
    """
    scale = largest_entry(rows)
    if scale == 0.0:
        return 0.0
    rows = by_row(np.divide, rows, scale)
    if monotone is not None:
        multipliers = multipliers[:, 0]
    if multipliers.ndim == 1:
        parts = [np.maximum(sign * multipliers, 0.0) for sign in (1.0, -1.0)]
    else:
        # whatever the output weights, no multiplier is larger than this
        parts = [row_norms(multipliers)]
    totals = [part.sum() for part in parts]
    roots = [by_row(np.multiply, rows, np.sqrt(part)) for part in parts]
    singular = [largest_singular_value(root) for root in roots]
    linear = transposed_times(rows, multipliers)
    if monotone is None:
        bound = bound_of_sums(linear, totals, singular)
    else:
        bound = max(
            bound_of_sums(
                clipped(sign * linear, sign * monotone), totals[k : k + 1], singular[k : k + 1]
            )
            for k, sign in enumerate((1.0, -1.0))
        )
    bound *= scale
    return bound * (1.0 + _EPS * (np.prod(rows.shape, dtype=float) + 16.0))


@dataclass(frozen=True)
class ProvedDual:
    r"""Dual variables of one output, with a proved bound on what any neuron gains by them.

    Attributes
    ----------
    problem : NormalisedProblem
    slopes : ndarray of shape (n_samples,)
        Admissible.
    excess : float
        At least :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+| / \alpha`, or of outputs that
        share the neurons :math:`\max_{\|u\| \le 1} \|\Lambda^\top (X u)_+\|_2 / \alpha`.
    """

    problem: NormalisedProblem
    slopes: np.ndarray
    excess: float

    def at(self, kappa):
        """Lower bound by the slopes over kappa, less what rounding may have added."""
        problem, kappa = self.problem, kappa * (1.0 + 4.0 * _EPS)
        slopes = self.slopes / kappa
        terms = problem.weights * problem.loss.conjugate(slopes, problem.y)
        # a term may be small next to the product that it has in it
        products = np.abs(slopes * problem.y).reshape(len(terms), -1).sum(axis=1)
        sizes = np.abs(terms) + 2.0 * problem.weights * products
        return problem.units.objective * less_rounding(terms.sum(), sizes.sum(), slopes.size)

    @property
    def lower_bound(self):
        """Over all networks with this output alone."""
        return self.at(max(1.0, self.excess))


@dataclass(frozen=True)
class OutputProof:
    """What is known of the optimum of one output, over all networks.

    Attributes
    ----------
    proved : ProvedDual
        By `pricing_bound`, by branch and bound, or by pricing all patterns where the program has
        them.
    dual : SearchedDual or None
        The dual variables, and what local ascents have found with them, which proves nothing; None
        where all patterns were priced.
    gates : ndarray of shape (d, k)
        Directions of neurons, from which the searches climb.
    n_cones : int
        That branch and bound has looked at.
    doublings : float
        Of its cones, that it would have needed at the pace it had when time was out; see
        `PricingBounds`. 0 where time was not.
    upper : float
        The least objective of a network with this output alone that was found on the way.
    """

    proved: ProvedDual
    dual: SearchedDual | None
    gates: np.ndarray
    n_cones: int = 0
    doublings: float = 0.0
    upper: float = np.inf


def bound_output(program, slopes):
    """Bounds from the dual variables of one output.

    Parameters
    ----------
    program : PatternProgram
        With ``exhaustive=True`` it prices exactly.
    slopes : ndarray of shape (n_samples,)
        Slopes of the loss, or better dual variables.

    Returns
    -------
    OutputProof
    """
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        if program.exhaustive:
            return OutputProof(_over_all_patterns(program, slopes), None, program.gates)
        problem, gates = program.problem, program.gates
        dual = _searched(problem, slopes, gates, workers)
        return OutputProof(_closed_form(problem, dual), dual, gates)


def certify_network(objectives, bounds, detail=None, *, time_limit=None, tol=1e-2, known=None):
    """Certificate of a network with an objective and bounds for every output.

    Parameters
    ----------
    objectives : list of float
        Of the network.
    bounds : list of OutputProof
        See `bound_output`.
    detail : dict, default=None
        To go with the certificate.
    time_limit : float, default=None
        Seconds to spend on better dual variables and on branch and bound.
    tol : float, default=0.01
        Relative gap at which they are good enough.
    known : Certificate, default=None
        Of the same network on the same data: what is known there stays known.

    Returns
    -------
    Certificate
    """
    detail, objective = dict(detail or {}), sum(objectives)
    tol, known = min(tol, _EXACT), known.detail if known else {}
    proved = _proved(bounds, objective, known)
    if time_limit is not None and relative_gap(objective, proved["proved_lower_bound"]) > tol:
        share = time_limit / len(bounds)
        bounds = [
            _enclose(bound, part, share, tol)
            for bound, part in zip(bounds, objectives, strict=True)
        ]
    least = min(
        objective, sum(bound.upper for bound in bounds), known.get("known_objective", np.inf)
    )
    # no more than the objective of any network: where both are optimal, rounding decides
    proved = _proved(bounds, least, proved)
    detail |= proved
    lower = proved["proved_lower_bound"]
    gap = relative_gap(least, lower)
    kind = "exact" if gap <= tol else "bound"
    if any(bound.dual is None for bound in bounds):
        detail["exhaustive"] = True
    else:
        n_starts = min(bound.dual.n_starts for bound in bounds)
        searched = sum(bound.dual.lower_bound for bound in bounds)
        searched = detail["searched_lower_bound"] = min(max(searched, lower), least)
        detail |= {
            "n_starts": n_starts,
            "confidence": CONFIDENCE,
            "share": 1.0 - ((1.0 - CONFIDENCE) / len(bounds)) ** (1.0 / n_starts),
        }
        if time_limit is None and kind == "bound":
            lower, kind = searched, "searched"
    if least < objective:
        detail["known_objective"] = least
    if time_limit is not None:
        detail["n_cones"] = sum(bound.n_cones for bound in bounds)
        if any(bound.doublings != 0.0 for bound in bounds):
            detail["out_of_time"] = _out_of_time(bounds, time_limit, gap, tol)
    gap = relative_gap(objective, lower)
    return Certificate(kind, objective, lower, gap, detail, _networks(bounds))


def certificate_of_bounds(objective, bounds, detail):
    """Certificate of a network from a proved bound for every output, without its dual variables.

    The dual value is concave along the ray of the slopes, and not negative at its end: over kappa
    instead of a smaller kappa' it is at least kappa' / kappa of what it was.

    Parameters
    ----------
    objective : float
        Of the network.
    bounds : list of (lower_bound, excess)
        For every output, with the excess of `ProvedDual`.
    detail : dict
        To go with the certificate.

    Returns
    -------
    Certificate
    """
    lower = min((1.0 - _EPS * len(bounds)) * sum(lower for lower, _ in bounds), objective)
    detail = {**detail, "proved_lower_bound": lower}
    if len(bounds) > 1:
        kappa = max(1.0, math.hypot(*(excess for _, excess in bounds)))
        shares = [max(1.0, excess) / kappa * bound for bound, excess in bounds]
        detail["shared_lower_bound"] = min((1.0 - 8.0 * _EPS) * sum(shares), lower)
    gap = relative_gap(objective, lower)
    kind = "exact" if gap <= _EXACT else "bound"
    return Certificate(
        kind, objective, lower, gap, detail, "all" if len(bounds) == 1 else "unshared"
    )


def _networks(bounds):
    if len(bounds) > 1:
        return "unshared"
    return "all" if bounds[0].proved.problem.monotone is None else "monotone"


def _proved(bounds, objective, known):
    """What is proved about all networks, and about those that share no neuron; or was known."""
    duals = [bound.proved for bound in bounds]
    kappa = max(1.0, math.hypot(*(dual.excess for dual in duals)))
    shared = max(sum(dual.at(kappa) for dual in duals), known.get("shared_lower_bound", 0.0))
    proved = max(
        sum(dual.lower_bound for dual in duals), shared, known.get("proved_lower_bound", 0.0)
    )
    detail = {"proved_lower_bound": float(min(proved, objective))}
    if len(duals) > 1:
        detail["shared_lower_bound"] = float(min(shared, objective))
    return detail


def _out_of_time(bounds, time_limit, gap, tol):
    """What was tried, what is known, and whether more time would help."""
    problem = bounds[0].proved.problem.user
    n_features = problem.X.shape[1]
    doublings = _largest(bound.doublings for bound in bounds)
    features = f"{n_features} feature{'s' * (n_features != 1)}"
    if problem.fit_intercept:
        features += " and a constant"
    tried = "branch and bound over the directions of neurons"
    n_cones = sum(bound.n_cones for bound in bounds)
    if n_cones == 0:
        tried, outlook = (
            "column generation",
            ("branch and bound was not tried, as that many features are out of its reach"),
        )
    elif math.isnan(doublings):
        outlook = "that is too short to tell whether more time would help"
    elif doublings <= _WITHIN_REACH:
        times = 2.0 ** math.ceil(doublings)
        outlook = f"more time may help: at this pace, {times:.0f} times as much or more is needed"
    else:
        outlook = "a proof is out of reach at this pace: the work grows exponentially with features"
    return (
        f"{tried} ({features}; {n_cones} cones in {time_limit:g} s) has proved a gap of "
        f"{_up(gap)} %, and {100 * tol:.2g} % was asked for; {outlook}."
    )


def _largest(doublings):
    """The largest number; NaN where one is, since too little is known then; inf of none."""
    return float(np.max(list(doublings) or [np.inf]))


def _searched(problem, slopes, gates, workers=ALONE):
    """The dual variables of a solution, searched as they would be were there no other output."""
    rng = np.random.RandomState(0)
    return search_dual(problem, slopes, rng, gates, n_starts=_FEW_STARTS, workers=workers)


def _over_all_patterns(program, slopes):
    normalised = program.normalised
    problem = normalised.problem
    slopes = admissible_slopes(problem, slopes / problem.units.slope)
    norms = dual_norms(normalised, slopes, exact_above=normalised.alpha)
    # what the sums over the rows may have lost, and cells too narrow to be told from rounding
    sizes, lost = row_norms(problem.rows), 0.0
    if (basis := problem.design.basis) is not None:
        # of small rows next to large ones, their coordinates lose more
        lost = row_norms(problem.user.scaled.rows - problem.rows @ basis.T)
    rounding = ((len(sizes) + 16.0) * _EPS + _NARROWEST) * sizes + lost
    largest = norms.max() + problem.weights * np.abs(slopes) @ rounding
    return ProvedDual(problem, slopes, largest / problem.alpha)


def _closed_form(problem, dual):
    # in coordinates of the span of the rows, small rows next to large ones lose digits
    scaled = problem.scaled
    bound = pricing_bound(scaled.rows, -scaled.multipliers(dual.slopes), scaled.monotone)
    return ProvedDual(scaled, dual.slopes, bound / scaled.alpha)


def _affordable(problem, slopes, wanted):
    """Largest pricing value with which slopes still prove what is wanted; alpha if none does.

    The dual value is concave along the ray of the slopes.
    """

    def proves(share):
        return share > 0.0 and dual_value(problem, slopes, problem.alpha / share) >= wanted

    if not proves(1.0):
        return problem.alpha
    enough, short = 1.0, 0.0
    for _ in range(30):
        middle = 0.5 * (enough + short)
        enough, short = (middle, short) if proves(middle) else (enough, middle)
    return problem.alpha / enough


def _enclose(known, objective, time_limit, tol):
    """Column generation and branch and bound by turns, each with half of the time of a turn.

    The better the dual variables, the looser the bound on pricing that is enough, and the fewer
    cones it takes: what tolerance column generation leaves over is for branch and bound. Turns get
    longer, so that a longer time limit repeats what a shorter one does, and goes on from there.
    """
    rng = np.random.RandomState(1)
    turn, deadline = _FIRST_TURN, time.perf_counter() + time_limit
    problem, gates = known.proved.problem.user, known.gates
    scaled, units = problem.scaled, problem.natural_units
    proved, n_cones, upper = known.proved, 0, objective
    dual = known.dual or _searched(problem, units.slope * proved.slopes, gates)
    rows = scaled.rows
    # large sparse rows have too many columns for branch and bound to get anywhere
    rows = None if is_wide(rows) or not fits_dense(rows) else dense(rows, "branch and bound")
    while True:
        now = time.perf_counter()
        end = min(deadline, now + turn)
        middle = now + 0.5 * (end - now)
        dual, found = tighten(
            problem, dual, objective, tol=_DUAL_SHARE * tol, deadline=middle, rng=rng
        )
        upper = min(upper, found)
        # of the network, or where it is not optimal of the best one that is known
        wanted = min((1.0 - _AIM * tol) * objective, (1.0 - 0.5 * _AIM * tol) * upper)
        settled = time.perf_counter() < middle
        if settled:
            # no better dual variables to be had: all the time is for branch and bound
            end = deadline
        # what neurons that add gain of
        multipliers = -scaled.multipliers(dual.slopes)
        enough = _affordable(scaled, dual.slopes, wanted / units.objective)
        enclosures = []
        monotone = scaled.monotone
        # the gain of several outputs is a norm, and has no sign
        signs = (1.0,) if problem.is_shared and monotone is None else (1.0, -1.0)
        ways = multipliers if monotone is None else multipliers[:, 0]
        for k, sign in enumerate(signs if rows is not None else ()):
            left = max(end - time.perf_counter(), 0.0) / (len(signs) - k)
            enclosures.append(
                pricing_maximum(
                    rows,
                    sign * ways,
                    signs=None if monotone is None else sign * monotone,
                    tol=0.25 * tol,
                    stop_below=max(enough, dual.largest),
                    start=dual.directions,
                    time_limit=left,
                )
            )
        n_cones += sum(enclosure.n_cones for enclosure in enclosures)
        gain = pricing_bound(scaled.rows, multipliers, monotone)
        if enclosures:
            gain = min(gain, max(enclosure.upper for enclosure in enclosures))
        excess = gain / scaled.alpha
        enclosed = ProvedDual(scaled, dual.slopes, excess)
        proved = max(proved, enclosed, key=lambda bound: bound.lower_bound)
        # with what branch and bound has found; and anew, because the best of several searches is
        # not one to be confident in
        best = [part.direction[:, None] for part in enclosures]
        known, largest = np.concatenate([dual.directions, *best], axis=1), dual.largest
        dual = search_dual(problem, dual.slopes * units.slope, rng, gates, extra=known)
        finished = bool(enclosures) and all(part.finished for part in enclosures)
        nothing_left = settled and dual.largest <= max(largest * (1.0 + 1e-6), enough)
        if proved.lower_bound >= wanted or (nothing_left and finished):
            return OutputProof(proved, dual, gates, n_cones, 0.0, upper)
        if nothing_left or time.perf_counter() >= deadline:
            # where every cone is settled, it is the dual variables that are not good enough
            doublings = np.nan if finished else _largest(part.doublings for part in enclosures)
            return OutputProof(proved, dual, gates, n_cones, doublings, upper)
        turn *= 4.0
