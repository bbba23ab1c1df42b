r"""What is known about a fitted network against all networks, in numbers and in sentences.

For slopes p of the loss that the dual admits and :math:`\lambda = \omega \circ p`, every two-layer
ReLU network of any width has an objective of at least

.. math:: -\sum_k \omega_k \ell^*(p_k / \kappa), \qquad
    \kappa = \max\Big(1, \tfrac1\alpha \max_{\|u\| \le 1} |\lambda^\top (X u)_+|\Big).

The inner maximum ("pricing") decides what kind of statement that is:

exact
    all activation patterns are in the program, or branch and bound has enclosed the maximum as
    closely as the tolerance needs.
bound
    branch and bound was stopped, or a closed form was used: a proved upper bound on the maximum.
    The closed form is

    .. math:: \lambda^\top (Xu)_+ = \tfrac12 \lambda^\top X u + \tfrac12 \lambda^\top |X u|
        \le \tfrac12 \|X^\top\lambda\| + \tfrac12 \sqrt{\textstyle\sum_k \lambda_k^+ \,
        \sigma_{\max}(X^\top \mathrm{diag}(\lambda^+) X)} .
searched
    the largest value that local ascents have found: an estimate, not a proof. If none of N ascents
    from independent random directions finds more, then with confidence :math:`1 - \psi` the share
    of directions from which an ascent would find more is at most :math:`1 - \psi^{1/N}`: a share
    :math:`\xi` escapes all N with probability :math:`(1 - \xi)^N`. For K outputs each gets
    :math:`\psi / K`, and the N directions are drawn after the dual variables were chosen.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rows import by_row, dense, fits_dense, is_wide, largest_singular_value, transposed_times
from .rows import largest as largest_entry
from .solvers.bounds import admissible_slopes, dual_norms, dual_value
from .solvers.branch_and_bound import pricing_maximum
from .solvers.column_generation import SearchedDual, search_dual, tighten
from .solvers.pricing import bound_of_sums
from .solvers.result import relative_gap
from .solvers.threads import Workers, one_blas_pool
from .solvers.units import Units

# shares of the tolerance: the gap that branch and bound is asked for, to be below after rounding;
# what the dual variables may lose of it before
_AIM, _DUAL_SHARE = 0.98, 0.1
# confidence of the statement about what a search may have missed
CONFIDENCE = 0.99
# random ascents, but for a certificate with a time limit
_FEW_STARTS = 100


@dataclass(frozen=True)
class Certificate:
    """A statement about the training objective of a network.

    Attributes
    ----------
    kind : {"exact", "bound", "searched"}
        What `lower_bound` is. "exact": proved, with the dual condition computed over all neurons.
        "bound": proved, with an upper bound on it; it may be far from tight. "searched": an
        estimate from the best neurons that a search has found.
    objective : float
        Objective of the network.
    lower_bound : float
        No two-layer ReLU network, of any width, has an objective below this; for "searched", if
        the search has missed nothing.
    gap : float
        ``(objective - lower_bound) / objective``, at most 1 since objectives are non-negative.
    detail : dict
        "proved_lower_bound" and, unless all patterns are known, "searched_lower_bound" with
        "n_starts", "share" and "confidence" of the search (not after a fit on Dask collections);
        "exhaustive" where all are known; "n_cones" of branch and bound. When
        made in `fit`: "sampled_upper_bound", "sampled_lower_bound" and "sampled_gap" of the convex
        program that was solved, its "n_patterns", and whether it had "fixed_directions", one per
        pattern, as with ``solver="scp"``.
    """

    kind: str
    objective: float
    lower_bound: float
    gap: float
    detail: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        detail, lines = self.detail, []
        if "sampled_gap" in detail:
            which = "all" if "exhaustive" in detail else "the chosen"
            what = f"over {which} {detail['n_patterns']} activation patterns"
            if detail["fixed_directions"]:
                what = f"over a first layer of {detail['n_patterns']} fixed directions"
            lines.append(
                f"Solved: the convex program {what}, to a relative duality gap of "
                f"{detail['sampled_gap']:.1e}."
            )
        if self.kind == "exact":
            lines.append(
                f"Proved: the objective {self.objective:.6g} is within {100 * self.gap:.2g} % of "
                "the optimum over all two-layer ReLU networks of any width."
            )
            return "\n".join(lines)
        # a fit on many machines does not search
        if "searched_lower_bound" in detail:
            searched = relative_gap(self.objective, detail["searched_lower_bound"])
            lines.append(
                f"Searched: the objective {self.objective:.6g} is within {100 * searched:.2g} % of "
                "the optimum over all two-layer ReLU networks of any width, if the search has "
                f"missed no neuron (with {100 * detail['confidence']:.0f} % confidence, at most "
                f"{100 * detail['share']:.1f} % of random starts would find a better one)."
            )
        proved = detail["proved_lower_bound"]
        lines.append(
            f"Proved: no two-layer ReLU network of any width has an objective below {proved:.6g} "
            f"(this one has {self.objective:.6g}); the bound is valid but need not be tight."
        )
        return "\n".join(lines)


def pricing_bound(rows, multipliers):
    r"""Proved upper bound on :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+|`: `bound_of_sums`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    multipliers : ndarray of shape (n,)
        The :math:`\lambda`.

    Returns
    -------
    float
    """
    scale = largest_entry(rows)
    if scale == 0.0:
        return 0.0
    rows = by_row(np.divide, rows, scale)
    parts = [np.maximum(sign * multipliers, 0.0) for sign in (1.0, -1.0)]
    totals = [part.sum() for part in parts]
    roots = [by_row(np.multiply, rows, np.sqrt(part)) for part in parts]
    singular = [largest_singular_value(each) for each in roots]
    return scale * bound_of_sums(transposed_times(rows, multipliers), totals, singular)


@dataclass(frozen=True)
class OutputBounds:
    """Lower bounds on the optimum of one output, over all networks.

    Attributes
    ----------
    proved : float
        By `pricing_bound`, or by pricing all patterns where the program has them.
    dual : SearchedDual or None
        The dual variables, and what local ascents have found with them, which proves nothing; None
        where all patterns were priced.
    """

    proved: float
    dual: SearchedDual | None


def bound_output(program, slopes):
    """Bounds from the dual variables of one output.

    Parameters
    ----------
    program : SampledProgram
        With ``exhaustive=True`` it prices exactly.
    slopes : ndarray of shape (n_samples,)
        Slopes of the loss, or better dual variables.

    Returns
    -------
    OutputBounds
    """
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        if program.exhaustive:
            return OutputBounds(_over_all_patterns(program, slopes), None)
        # every output is searched as it would be alone
        rng = np.random.RandomState(0)
        dual = search_dual(program, slopes, rng, n_starts=_FEW_STARTS, workers=workers)
        return OutputBounds(_closed_form(program, dual), dual)


def certify_network(programs, objectives, bounds, detail=None, *, time_limit=None, tol=1e-2):
    """Certificate of a network with a program, an objective and bounds for every output.

    Parameters
    ----------
    programs : list of SampledProgram
    objectives : list of float
        Of the network.
    bounds : list of OutputBounds
        See `bound_output`.
    detail : dict, default=None
        To go with the certificate.
    time_limit : float, default=None
        Seconds to spend on better dual variables and on branch and bound.
    tol : float, default=0.01
        Relative gap at which they are good enough.

    Returns
    -------
    Certificate
    """
    detail, objective = dict(detail or {}), sum(objectives)
    proved, duals = sum(each.proved for each in bounds), [each.dual for each in bounds]
    if programs[0].exhaustive:
        # where both are optimal, rounding decides which is larger
        lower = min(proved, objective)
        detail |= {"exhaustive": True, "proved_lower_bound": lower}
        return Certificate("exact", objective, lower, relative_gap(objective, lower), detail)
    kind = "searched"
    if time_limit is not None:
        share = time_limit / len(programs)
        parts = [
            _enclose(program, known, one, share, tol)
            for program, known, one in zip(programs, bounds, objectives, strict=True)
        ]
        kind = "exact" if all(part.exact for part in parts) else "bound"
        proved, duals = sum(part.lower_bound for part in parts), [part.dual for part in parts]
        detail["n_cones"] = sum(part.n_cones for part in parts)
    proved = min(proved, objective)
    searched = min(max(sum(dual.lower_bound for dual in duals), proved), objective)
    n_starts = min(dual.n_starts for dual in duals)
    detail |= {
        "proved_lower_bound": proved,
        "searched_lower_bound": searched,
        "n_starts": n_starts,
        "confidence": CONFIDENCE,
        "share": 1.0 - ((1.0 - CONFIDENCE) / len(programs)) ** (1.0 / n_starts),
    }
    lower = searched if kind == "searched" else proved
    return Certificate(kind, objective, lower, relative_gap(objective, lower), detail)


def _over_all_patterns(program, slopes):
    units = Units(program)
    normalised = units.normalised
    slopes = admissible_slopes(normalised, slopes / units.slope_scale)
    norms = dual_norms(normalised, slopes, exact_above=normalised.alpha)
    return units.objective_scale * dual_value(normalised, slopes, norms.max())


def _closed_form(program, dual):
    units = Units(program)
    normalised = units.normalised
    bound = pricing_bound(normalised.rows, normalised.weights * dual.slopes)
    return units.objective_scale * dual_value(normalised, dual.slopes, bound)


@dataclass(frozen=True)
class _Enclosed:
    """A proved lower bound for one output, and how it was come by."""

    lower_bound: float
    exact: bool
    dual: SearchedDual
    n_cones: int


def _affordable(program, slopes, wanted):
    """Largest pricing value with which slopes still prove what is wanted; alpha if none does.

    The dual value is concave along the ray of the slopes.
    """

    def proves(share):
        return share > 0.0 and dual_value(program, slopes, program.alpha / share) >= wanted

    if not proves(1.0):
        return program.alpha
    enough, short = 1.0, 0.0
    for _ in range(30):
        middle = 0.5 * (enough + short)
        enough, short = (middle, short) if proves(middle) else (enough, middle)
    return program.alpha / enough


def _enclose(program, known, objective, time_limit, tol):
    """Column generation and branch and bound by turns, each with half of the time left.

    The better the dual variables, the looser the bound on pricing that is enough, and the fewer
    cones it takes: what tolerance column generation leaves over is for branch and bound.
    """
    rng = np.random.RandomState(1)
    deadline = time.perf_counter() + time_limit
    units = Units(program)
    normalised = units.normalised
    proved, dual, exact, cones = known.proved, known.dual, False, 0
    wanted = (1.0 - _AIM * tol) * objective
    rows = normalised.rows
    # large sparse rows have too many columns for branch and bound to get anywhere
    rows = None if is_wide(rows) or not fits_dense(rows) else dense(rows, "branch and bound")
    while True:
        left = deadline - time.perf_counter()
        dual = tighten(
            program,
            dual,
            objective,
            tol=_DUAL_SHARE * tol,
            deadline=deadline - 0.5 * left,
            rng=rng,
        )
        multipliers = normalised.weights * dual.slopes
        enough = _affordable(normalised, dual.slopes, wanted / units.objective_scale)
        enclosures = []
        for remaining, sign in ((2, 1.0), (1, -1.0)) if rows is not None else ():
            left = max(deadline - time.perf_counter(), 0.0) / remaining
            enclosures.append(
                pricing_maximum(
                    rows,
                    sign * multipliers,
                    tol=0.25 * tol,
                    stop_below=max(enough, dual.largest),
                    start=units.directions(dual.directions),
                    time_limit=left,
                )
            )
        cones += sum(one.n_cones for one in enclosures)
        upper = pricing_bound(normalised.rows, multipliers)
        if enclosures:
            upper = min(upper, max(one.upper for one in enclosures))
        lower = units.objective_scale * dual_value(normalised, dual.slopes, upper)
        if lower >= proved:
            proved = lower
            exact = rows is not None and all(one.finished for one in enclosures)
        # with what branch and bound has found; and anew, because the best of several searches is
        # not one to be confident in
        found = [units.user_directions(one.direction[:, None]) for one in enclosures]
        known, largest = np.concatenate([dual.directions, *found], axis=1), dual.largest
        dual = search_dual(program, dual.slopes * units.slope_scale, rng, extra=known)
        done = proved >= wanted or dual.largest <= max(largest * (1.0 + 1e-6), enough)
        if done or time.perf_counter() >= deadline:
            return _Enclosed(proved, exact, dual, cones)
