r"""A query as a mixed-integer linear program, for what branch and bound leaves open.

Only neurons that hurt need a binary variable (Tjeng, Xiao & Tedrake, ICLR 2019, have one for each):
with :math:`y \le z - l (1 - s)` and :math:`y \le h s` the least :math:`-|p| y` is
:math:`-|p| (z)_+`, while :math:`t \ge z, t \ge 0` give :math:`p\, t = p (z)_+`.
"""

import numpy as np
from scipy.optimize import LinearConstraint, milp

# What HiGHS may be wrong by, relative to the summed magnitudes of what changes in the function: its
# constraints and reduced costs hold up to 1e-6 in the units of the program.
TOLERANCE = 1e-6
# Units of the objective per size of the function: HiGHS stops at an absolute gap of 1e-6.
UNITS = 1e3


def minimise_query(queries, k, *, decide=False, time_limit=None):
    r"""Minimum of one query over its ball, which is polyhedral.

    Parameters
    ----------
    queries : Queries
    k : int
    decide : bool, default=False
        Ask only whether there is a value of less than twice the tolerance.
    time_limit : float, default=None
        In seconds.

    Returns
    -------
    bound : float
        What the solver calls a lower bound, less its tolerance; minus infinity if there is none.
    point : ndarray of shape (d,) or None
        The best point found.
    """
    ball, neurons = queries.ball, np.flatnonzero(queries.output[k])
    # activations in units of how far they move
    reach = queries.reach[k, neurons]
    output, centre = queries.output[k, neurons] * reach, queries.centre[k, neurons] / reach
    moves = (queries.radii[k][:, None] * queries.weights[:, neurons] / reach).T
    moves, linear = ball.coordinates(moves), ball.coordinates(queries.linear[k])
    hurts, d, m = output < 0, len(linear), len(neurons)
    size = queries.take([k]).sizes()[0]
    unit = size / UNITS if size > 0 else 1.0
    tolerance = TOLERANCE * size

    # variables: coordinates of the point, an activation for each neuron, a binary where it hurts
    eye, binaries = np.eye(m), np.eye(m)[:, hurts]
    none = np.zeros_like(binaries)
    cost = np.concatenate([linear, output, np.zeros(len(none.T))]) / unit
    least, totals = ball.constraints(d)
    rows = [
        (np.hstack([moves, -eye, none])[~hurts], -centre[~hurts]),
        (np.hstack([-moves, eye, (1.0 - centre)[:, None] * binaries])[hurts], np.ones(hurts.sum())),
        (np.hstack([0.0 * moves, eye, -(centre + 1.0)[:, None] * binaries])[hurts], 0.0),
        (np.pad(totals, ((0, 0), (0, len(cost) - d))), 1.0),
    ]
    if decide:
        rows.append((cost[None], (2.0 * tolerance - queries.constant[k]) / unit))
    lowest = np.concatenate([np.full(d, least), np.zeros(len(cost) - d)])
    highest = np.concatenate([np.ones(d), centre + 1.0, np.ones(len(none.T))])
    options = {"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit})
    # HiGHS decides sooner with the objective than without
    result = milp(
        cost,
        integrality=np.repeat([0, 1], [d + m, len(none.T)]),
        bounds=(lowest, highest),
        constraints=[LinearConstraint(A, -np.inf, b) for A, b in rows if len(A)],
        options=options,
    )
    point = None if result.x is None else ball.points(result.x[None, :d])[0]
    if decide:
        bound = 2.0 * tolerance if result.status == 2 else -np.inf
    else:
        # a linear program has no dual bound
        proved = result.fun if not hurts.any() else result.mip_dual_bound
        bound = -np.inf if proved is None else float(queries.constant[k] + unit * proved)
    return bound - tolerance - queries.slack[k], point
