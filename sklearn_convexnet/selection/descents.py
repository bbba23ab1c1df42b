r"""Networks of a decreasing sequence of penalties, each descended from the last; nothing is proved.

From the constant network on, the neurons that the dual variables ask for join those that are there
(`price`), and all descend for a few iterations. The network of a small penalty is not its optimum
yet, but it predicts like it: this is for comparing penalties, and costs a few fits.
"""

from dataclasses import replace

import numpy as np

from ..bounds.dual import admissible_slopes
from ..bounds.pricing import distinct, price_rows
from ..core.parallel import Workers, one_blas_pool
from ..program.neuron_shard import NeuronRows
from ..program.patterns import draw_gates
from ..solvers.descent import Descent, constant_network

# iterations of L-BFGS for a penalty, and the smoothing in units of a typical pre-activation
_STEPS, _WIDTH = 40, 0.03
# random directions to climb from, steps of an ascent, and neurons that join (with one output, of
# each sign)
_STARTS, _CLIMB, _JOINING = 32, 15, 10
# no penalty is less than this share of the one before, also where fewer are asked for; but so many
# steps must do for any penalty
_LEAST_SHARE, _MOST_BETWEEN = 0.4, 12


def descended_networks(problem, alphas, seed):
    """Yield the network of every penalty.

    Parameters
    ----------
    problem : TrainingProblem
        In the user's units, with any penalty.
    alphas : iterable of float
        Decreasing.
    seed : int
        Of the directions that are climbed from.

    Yields
    ------
    TwoLayerReLU
    """
    normalised, shape = problem.normalised, problem.y.shape[1:]
    bias, slopes = constant_network(
        normalised.y, problem.weights, normalised.loss, fit_intercept=problem.fit_intercept
    )
    nothing = np.zeros((normalised.rows.shape[1], 0)), np.zeros((0, *shape)), bias
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        rows = NeuronRows(normalised, workers)
        rows.give_slopes(admissible_slopes(normalised, slopes))
        walk = _Walk(problem, Descent(rows, *nothing), workers, np.random.RandomState(seed))
        for alpha in alphas:
            walk.to(alpha)
            yield normalised.user_network(*walk.descent.network)


class _Walk:
    """Neurons on their way from large to small penalties."""

    def __init__(self, problem, descent, workers, rng):
        self.problem, self.descent, self.workers, self.rng = problem, descent, workers, rng
        smooth = np.isfinite(descent.rows.problem.loss.curvature)
        self.precision = problem.normalised.design.precision if smooth else np.float64
        # up to the first penalty at which a neuron joins there is nothing to walk
        self.alpha = self._price().largest * problem.alpha / descent.rows.problem.alpha

    def to(self, alpha):
        """Go to a smaller penalty, by steps that are not too long."""
        if alpha < self.alpha:
            n_steps = int(np.ceil(np.log(alpha / self.alpha) / np.log(_LEAST_SHARE)))
            n_steps = min(n_steps, _MOST_BETWEEN)
            for between in np.geomspace(self.alpha, alpha, n_steps + 1)[1:]:
                self._step(between)
            self.alpha = alpha

    def _step(self, alpha):
        priced, descent = self._price(), self.descent
        normalised = replace(self.problem, alpha=float(alpha)).normalised
        joining = distinct(normalised, priced, above=normalised.alpha, most=_JOINING)
        descent.add(priced.directions[:, joining], priced.outputs[joining])
        descent.rows = NeuronRows(normalised, self.workers)
        if descent.outputs.size:
            descent.run(_WIDTH * descent.typical_activation, _STEPS, self.precision)
        descent.rows.set_slopes(*descent.network, descent.loss_width)

    def _price(self):
        """The neurons that the slopes at the network ask for."""
        user, rows = self.problem, self.descent.rows
        fresh = draw_gates(user.rows, user.weights, _STARTS, self.rng, intercept=user.fit_intercept)
        starts = [rows.problem.design.coordinates(fresh), self.descent.directions]
        return price_rows(
            rows,
            np.concatenate(starts, axis=1),
            rows.problem.is_shared,
            monotone=rows.problem.monotone,
            max_iter=_CLIMB,
            dtype=self.precision,
        )
