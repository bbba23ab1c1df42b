r"""Rows of a normalised program, and all that a solver asks of them: sums and maxima over rows.

A program may be split by rows into shards, on one machine or on many. Nothing of the size of a row
travels: what goes out and comes back are blocks of d x P numbers. A pass goes through its rows in
parts that stay in the cache.

`ADMMShard` is what ADMM does for every row: the cones of all patterns, and the loss.

For the loss the split is on the effective weight :math:`g_k = \sum_i d_{ik} (v_i - w_i)` of every
row (see `linear_step`). Its copy and its multiplier would be d numbers a row, but the loss moves
both along the row only: with the over-relaxed mean :math:`\bar q` of the iterates
:math:`q = v - w`,

.. math:: \hat g_k = \sum_i d_{ik} \bar q_i + s_k x_k, \qquad \mu_k = \delta_k x_k,

so two numbers a row, and the output :math:`\bar u_k = x_k^\top \sum_i d_{ik} \bar q_i`, are all the
state there is. The output bias is one more coordinate of the rows, of value one.
"""

import numpy as np

from ..core.parallel import ALONE, Reductions
from ..core.rows import portions, weighted_sum

# bytes of the temporaries of a part of the rows
_CACHED = 2**20

# over-relaxation of the copies (Boyd et al. 2011, Section 3.4.3)
RELAXATION = 1.6

# multiplications of a pass over a shard, fewer are not worth a thread; and shards at most, as each
# returns sums of its own
_WORTH_A_THREAD, _MOST_SHARDS = 5e7, 64


class Shard:
    """Some rows of a program.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Positive; those of all shards sum to one.
    patterns : ndarray of bool of shape (n, P)
    loss : Loss

    Attributes
    ----------
    slopes : ndarray of shape (n,)
        Dual variables of the rows.
    """

    def __init__(self, rows, y, weights, patterns, loss):
        self.rows, self.y, self.weights, self.loss = rows, y, weights, loss
        self.patterns = patterns
        self.slopes = loss.derivative(np.zeros(len(y)), y)

    def parts(self, n_columns, itemsize=8):
        """Slices of rows whose product with `n_columns` columns stays in the cache."""
        step = max(64, _CACHED // (max(n_columns, 1) * itemsize))
        return [slice(start, start + step) for start in range(0, len(self.y), step)]

    def grams(self):
        r""":math:`X^\top \Omega X` and :math:`D^\top \Omega D`."""
        d, P = self.rows.shape[1], self.patterns.shape[1]
        row_gram, gate_gram = np.zeros((d, d)), np.zeros((P, P))
        for part in self.parts(d + P):
            weights = self.weights[part]
            rows, gates = self.rows[part], self.patterns[part].astype(np.float64)
            row_gram += weighted_sum(rows, weights, rows)
            gate_gram += weighted_sum(gates, weights, gates)
        return row_gram, gate_gram

    # ----------------------------------------------------------------------------- the dual

    def set_slopes(self, slopes):
        """Set the dual variables."""
        self.slopes = slopes

    def slope_sums(self):
        """Weighted sums of the positive and of the negative slopes, clipped to the domain."""
        self.slopes = np.clip(self.slopes, *self.loss.conjugate_domain(self.y))
        terms = self.weights * self.slopes
        return terms[terms > 0].sum(), -terms[terms < 0].sum()

    def scale_slopes(self, up, down):
        """Multiply the positive slopes by `up` and the negative ones by `down`."""
        self.slopes = self.slopes * np.where(self.slopes > 0, up, down)

    def dual_gradients(self):
        r""":math:`X^\top D_i \Omega p` for the slopes p, shape (d, P)."""
        total = np.zeros((self.rows.shape[1], self.patterns.shape[1]))
        terms = self.weights * self.slopes
        for part in self.parts(total.shape[1]):
            total += self.rows[part].T @ (terms[part, None] * self.patterns[part])
        return total

    def conjugate(self, kappa):
        r""":math:`\sum_k \omega_k \ell^*(p_k / \kappa)`, and the size of what is summed."""
        slopes = self.slopes / kappa
        terms = self.weights * self.loss.conjugate(slopes, self.y)
        sizes = np.abs(terms) + 2.0 * self.weights * np.abs(slopes * self.y)
        return float(terms.sum()), float(sizes.sum())

    def pricing_sums(self):
        r"""What bounds :math:`\max_u |\lambda^\top (X u)_+|` for :math:`\lambda = \Omega p`.

        Returns
        -------
        tuple
            :math:`X^\top \lambda`, and :math:`\sum_k t_k` and :math:`X^\top \mathrm{diag}(t) X`
            for the positive parts t of :math:`\lambda` and of :math:`-\lambda`.
        """
        d = self.rows.shape[1]
        sums = [np.zeros(d), 0.0, np.zeros((d, d)), 0.0, np.zeros((d, d))]
        for part in self.parts(2 * d):
            rows, terms = self.rows[part], (self.weights * self.slopes)[part]
            sums[0] += rows.T @ terms
            for place, sign in ((1, 1.0), (3, -1.0)):
                positive = np.maximum(sign * terms, 0.0)
                sums[place] += positive.sum()
                sums[place + 1] += weighted_sum(rows, positive, rows)
        return tuple(sums)

    # ---------------------------------------------------------------------------- the cones

    def most_violated(self, points, columns, tolerance, most):
        """For every point, the rows of the cone of its pattern that it violates most.

        Parameters
        ----------
        points : ndarray of shape (d, k)
        columns : ndarray of int of shape (k,)
            Their patterns.
        tolerance : float
        most : int
            Number of rows wanted for a point.

        Returns
        -------
        list of (ndarray, ndarray) or None
            For every point the slacks, below `-tolerance`, and the rows times their signs.
        """
        found = []
        for k, slack in self._slacks(points, columns):
            if slack.min(initial=0.0) >= -tolerance:
                found.append(None)
                continue
            worst = np.flatnonzero(slack < -tolerance)
            if worst.size > most:
                worst = worst[np.argpartition(slack[worst], most)[:most]]
            signs = 2.0 * self.patterns[worst, columns[k]] - 1.0
            found.append((slack[worst], signs[:, None] * self.rows[worst]))
        return found

    def steps_inside(self, points, gates, columns):
        """How far along its gate every point has to go to be in the cone of its pattern.

        Infinitely far where the gate touches a row.
        """
        steps = np.zeros(len(columns))
        pairs = zip(self._slacks(points, columns), self._slacks(gates, columns), strict=True)
        for (k, slack), (_, room) in pairs:
            short = slack < 0
            if short.any():
                touched = room[short].min() <= 0
                steps[k] = np.inf if touched else np.max(-slack[short] / room[short])
        return steps

    def _slacks(self, points, columns):
        """Pairs of the place of a point and its slacks in the cone of its pattern."""
        step = max(1, 4 * _CACHED // (8 * max(len(self.y), 1)))
        for start in range(0, len(columns), step):
            some = columns[start : start + step]
            slack = np.asfortranarray(self.rows @ points[:, start : start + step])
            slack *= 2.0 * self.patterns[:, some] - 1.0
            yield from enumerate(slack.T, start)

    # ------------------------------------------------------------------------ the objective

    def mean_loss(self, blocks, columns, bias):
        """Weighted sum of the losses of the gated model with the given blocks."""
        total = 0.0
        for part in self.parts(len(columns)):
            outputs = self.rows[part] @ blocks
            outputs *= self.patterns[part][:, columns]
            outputs = outputs.sum(axis=1) + bias
            total += self.weights[part] @ self.loss.value(outputs, self.y[part])
        return float(total)


def worst_rows(values, constraints, most):
    """The most violated of rows that several passes found."""
    values, constraints = np.concatenate(values), np.concatenate(constraints)
    order = np.argsort(values, kind="stable")[:most]
    return values[order], constraints[order]


class ADMMShard(Shard):
    """Some rows of a program, with the state of ADMM.

    Parameters
    ----------
    rows, y, weights, patterns, loss
        As in `Shard`.
    splits_loss : bool
        Whether the loss is split here, too, or is left to the linear step.
    intercept : bool
    dtype : dtype
        Precision of the state of the cones and of its products.

    Attributes
    ----------
    m : ndarray of shape (n, 2 P)
        Slack and multiplier of the cones of v, then of w, in one number: its positive part is the
        copy of the slack, its negative part the scaled multiplier.
    """

    def __init__(self, rows, y, weights, patterns, loss, *, splits_loss, intercept, dtype):
        super().__init__(rows, y, weights, patterns, loss)
        self.splits_loss, self.intercept = splits_loss, intercept
        self.dtype = np.dtype(dtype)
        self.cast_rows = rows.astype(dtype, copy=False)
        self.squares = np.einsum("kj,kj->k", rows, rows)
        # of (x_k, 1); a row of zeros sees no step of the prox: its slope is that at the output zero
        self.lengths = self.squares + float(intercept)
        self.lengths[self.lengths == 0] = 1e-30
        self.shifts, self.duals, self.outputs = np.zeros((3, len(y)))
        self._begin(patterns)

    def _begin(self, patterns):
        self.active, self.m = patterns, np.zeros((len(self.y), 2 * patterns.shape[1]), self.dtype)

    def start(self, slopes, blocks, bias, rho):
        """Set the state to a point, blocks of shape (d, 2 P), and slopes.

        Where these are None they are those of the loss at the point.
        """
        P = self.active.shape[1]
        for part in self.parts(2 * P):
            gates = np.tile(self.active[part], 2)
            activations = self.rows[part] @ blocks
            self.m[part] = np.maximum(activations * (2.0 * gates - 1.0), 0.0)
            activations *= gates
            self.outputs[part] = activations[:, :P].sum(axis=1) - activations[:, P:].sum(axis=1)
        if slopes is None:
            slopes = self.loss.derivative(self.outputs + bias, self.y)
        self.shifts[:], self.slopes, self.duals = 0.0, slopes, -slopes / rho

    def restore(self, columns, blocks, bias, rho):
        """Begin anew with the patterns `columns`, at a point."""
        self._begin(self.patterns[:, columns])
        self.start(None, blocks, bias, rho)

    def keep(self, columns, old, mean):
        """Go on with the patterns `columns`.

        Parameters
        ----------
        columns, old : ndarray of int of shape (P,)
            The patterns, and their places so far, -1 for new ones.
        mean : ndarray of shape (d, P)
            The over-relaxed mean of the iterates of q.
        """
        state = self.m.reshape(len(self.m), 2, -1)
        self._begin(self.patterns[:, columns])
        self.m.reshape(len(self.m), 2, -1)[:, :, old >= 0] = state[:, :, old[old >= 0]]
        for part in self.parts(len(columns)):
            activations = self.rows[part] @ mean
            activations *= self.active[part]
            self.outputs[part] = activations.sum(axis=1)

    # --------------------------------------------------------------------------- iterations

    def advance(self, blocks, bias, rho, ratio):
        """One iteration: move the state, return what it asks of the linear step, see `pull`."""
        return self._pass(self._mover(blocks, bias, rho), ratio)

    def advance_and_measure(self, blocks, bias, rho):
        """One iteration that returns the residuals instead.

        Returns
        -------
        cones : ndarray of shape (4,)
            Squares of the primal and dual residuals of the cones, of the copies and of the scaled
            multipliers.
        loss : ndarray of shape (6,)
            What `KroneckerStep.balance` needs.
        """
        shifts, outputs, cones = self.shifts.copy(), self.outputs.copy(), np.zeros(4)
        move = self._mover(blocks, bias, rho)
        for part, signs, slack, other in self._parts():
            before = np.maximum(self.m[part], 0.0)
            move(part, signs, slack, other)
            after = np.maximum(self.m[part], 0.0)
            multipliers = np.minimum(self.m[part], 0.0)
            squares = [slack / RELAXATION - after, after - before, after, multipliers]
            weights = self.weights[part]
            cones += [weights @ np.einsum("ki,ki->k", each, each) for each in squares]
        s, x = self.shifts, self.squares
        now = self.outputs
        gap = (now - (1.0 - RELAXATION) * outputs) / RELAXATION - now
        terms = [s * gap, s * s * x, (s - shifts) * (now - outputs), (s - shifts) ** 2 * x]
        terms += [s * now, self.duals**2 * x]
        return cones, np.array([self.weights @ term for term in terms])

    def rescale(self, cone_factor, loss_factor):
        """Keep the multipliers when the penalties are multiplied by these factors."""
        np.divide(self.m, self.m.dtype.type(cone_factor), out=self.m, where=self.m < 0)
        self.duals /= loss_factor

    def pull(self, ratio):
        r"""What the rows ask of the linear step.

        Parameters
        ----------
        ratio : float
            Penalty of the loss over that of the cones.

        Returns
        -------
        pulled : ndarray of shape (d, 2 P)
            :math:`X^\top \Omega (S \circ |m| \pm \tau\, e D)` for v and w, with the ratio
            :math:`\tau` and :math:`e = s + \delta`.
        total : float
            :math:`\sum_k \omega_k e_k`.
        """
        return self._pass(None, ratio)

    def multipliers(self, rho_cones):
        r""":math:`X^\top \Omega (S \circ a)` for the multipliers a of the cones, shape (d, 2 P)."""
        total = np.zeros((self.rows.shape[1], self.m.shape[1]))
        for part, signs, _, _ in self._parts():
            amounts = -np.minimum(self.m[part], 0.0).astype(np.float64)
            sides = amounts.reshape(len(amounts), 2, -1)
            sides *= signs[:, None]
            total += weighted_sum(self.rows[part], self.weights[part], amounts)
        return rho_cones * total

    def _parts(self):
        """Slices of the rows, with buffers that stay in the cache.

        Yields
        ------
        part : slice
        signs : ndarray of shape (k, P)
        slack, other : ndarray of shape (k, 2 P)
            For any use.
        """
        P = self.active.shape[1]
        parts = self.parts(2 * P, self.dtype.itemsize)
        size = min(parts[0].stop, len(self.y)) if parts else 0
        signs = np.empty((size, P), self.dtype)
        slack, other = np.empty((2, size, 2 * P), self.dtype)
        for part in parts:
            size = len(self.y[part])
            np.copyto(signs[:size], self.active[part])
            signs[:size] *= 2
            signs[:size] -= 1
            yield part, signs[:size], slack[:size], other[:size]

    def _mover(self, blocks, bias, rho):
        """The forward half of an iteration, a function of what `_parts` yields."""
        P = self.active.shape[1]
        relaxed = (RELAXATION * blocks).astype(self.dtype)
        halves = 0.5 * (blocks[:, :P] - blocks[:, P:]).sum(axis=1)
        relaxation = self.dtype.type(RELAXATION)

        def move(part, signs, slack, other):
            np.matmul(self.cast_rows[part], relaxed, out=slack)
            sides = slack.reshape(len(slack), 2, P)
            sides *= signs[:, None]
            if self.splits_loss:
                # of the gates (signs + 1) / 2 of the effective weights, so no product with X
                sums = sides.sum(axis=2).astype(np.float64) / (2.0 * RELAXATION)
                outputs = sums[:, 0] - sums[:, 1] + self.rows[part] @ halves
                self._loss_step(part, outputs, bias, rho)
            m = self.m[part]
            np.maximum(m, 0, out=other)
            other *= relaxation
            m -= other
            m += slack

        return move

    def _loss_step(self, part, outputs, bias, rho):
        """Scalar prox of the loss along (x_k, 1)."""
        mean = RELAXATION * outputs + (1.0 - RELAXATION) * self.outputs[part]
        kept = (1.0 - RELAXATION) * self.shifts[part] - self.duals[part]
        point = mean + bias + kept * self.lengths[part]
        step = self.lengths[part] / rho
        # optimality of the prox: the slope is a subgradient at its output
        slopes = (point - self.loss.prox(point, self.y[part], step)) / step
        self.slopes[part], self.outputs[part] = slopes, mean
        self.duals[part] = -slopes / rho
        self.shifts[part] = kept + self.duals[part]

    def _pass(self, move, ratio):
        """The backward half of an iteration, after the forward half of the same part."""
        d, P = self.rows.shape[1], self.active.shape[1]
        pulled, total = np.zeros((d, 2 * P)), 0.0
        weights, alike = self.weights, np.zeros(d)
        cast_weights = weights.astype(self.dtype)
        for part, signs, slack, other in self._parts():
            if move is not None:
                move(part, signs, slack, other)
            asked = np.abs(self.m[part], out=other)
            sides = asked.reshape(len(asked), 2, P)
            if self.splits_loss:
                # e D = e (signs + 1) / 2: the first half with the signs, the second is one column
                errors = self.shifts[part] + self.duals[part]
                halves = (0.5 * ratio * errors).astype(self.dtype)[:, None]
                sides[:, 0] += halves
                sides[:, 1] -= halves
                terms = weights[part] * errors
                total += terms.sum()
                alike += self.rows[part].T @ terms
            sides *= signs[:, None]
            pulled += weighted_sum(self.cast_rows[part], cast_weights[part], asked)
        pulled[:, :P] += 0.5 * ratio * alike[:, None]
        pulled[:, P:] -= 0.5 * ratio * alike[:, None]
        return pulled, float(total)


class ShardsLostError(RuntimeError):
    """Some shards have lost their state, and have been made anew."""


class Shards(Reductions):
    """Shards in this process.

    The sums do not depend on the number of threads: the shards do not, and they are added in
    their order.

    Parameters
    ----------
    shards : list of Shard
    intercept : bool
        Whether the output has a bias.
    workers : Workers, default=ALONE
        For the shards, at the same time.
    """

    def __init__(self, shards, *, intercept, workers=ALONE):
        self.shards, self.intercept, self.workers = shards, intercept, workers

    @classmethod
    def of(cls, program, *, workers, splits_loss, dtype):
        """Split a program into shards for ADMM."""
        n, P = program.patterns.shape
        size = max(1, int(_WORTH_A_THREAD / (P * program.rows.shape[1])))
        shards = []
        for part in portions(n, size, _MOST_SHARDS) if splits_loss else [slice(0, n)]:
            shards.append(
                ADMMShard(
                    program.rows[part],
                    program.y[part],
                    program.weights[part],
                    program.patterns[part],
                    program.loss,
                    splits_loss=splits_loss,
                    intercept=program.fit_intercept,
                    dtype=dtype,
                )
            )
        return cls(shards, intercept=program.fit_intercept, workers=workers)

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
        calls = [getattr(shard, method) for shard in self.shards]
        return self.workers.map(lambda call: call(*arguments), calls)

    def map_each(self, method, each, *arguments):
        """As `map`, with a first argument that is the shard's own."""
        for shard, own in zip(self.shards, each, strict=True):
            getattr(shard, method)(own, *arguments)

    @property
    def n_rows(self):
        """Number of rows of all shards."""
        return sum(len(shard.y) for shard in self.shards)

    def slopes(self):
        """The dual variables of all rows."""
        return np.concatenate([shard.slopes for shard in self.shards])

    def split(self, values):
        """Values of all rows as a list for the shards."""
        ends = np.cumsum([len(shard.y) for shard in self.shards])
        return np.split(values, ends[:-1])
