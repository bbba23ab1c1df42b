r"""Barrier method for convex adversarial training.

Reaches are bounded by variables, :math:`T_i \ge \|r \circ v_i\|_*` for the blocks and
:math:`T_g \ge \|r \circ G_g\|_*` for the effective weights, of which rows with equal patterns share
one. All that has a kink gets a logarithmic barrier; what a barrier bounds alone (the norms of the
blocks, the hinges) is eliminated in closed form, for example

.. math:: \min_t\; \alpha t - \mu \log(t^2 - \|v\|^2), \qquad
    \alpha t = \mu + \sqrt{\mu^2 + \alpha^2 \|v\|^2} .

Newton's systems are block-diagonal but for the effective weights. With matrices
:math:`Q_{v_i}, Q_{w_i}` of size d and the curvature :math:`M_g` of the loss they reduce to one in
the d P differences :math:`v_i - w_i`, with the blocks

.. math:: \delta_{ij} (Q_{v_i}^{-1} + Q_{w_i}^{-1})^{-1} + \sum_g d_{ig} d_{jg} M_g .

After pruning there are few patterns, and this is much faster than ADMM to a small gap. The
barriers give multipliers that are admissible in the dual at any iterate, so that
`certify_robust` proves bounds as it goes.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..core.norms import Linf

# factor of the barrier parameter from one centre to the next, most Newton steps towards one
_SHRINK, _MOST_STEPS = 0.3, 40
_REFINEMENTS = 6
# what is added to the matrices of the blocks, relative to their largest entry
_SOFT, _SOFTEST = 1e-9, 1e-4


class RobustBarrier:
    """Iterates of the method on a program in normalised units.

    Parameters
    ----------
    program : RobustProgram

    Attributes
    ----------
    theta : ndarray of shape (2 P, d)
        Blocks v and w, strictly feasible.
    bias : float
    mu : float
        Barrier parameter; the duality gap at its centre is a small multiple of it.
    n_iter : int
        Newton steps done.
    """

    def __init__(self, program):
        clean = program.clean
        self.program, self.clean = program, clean
        # with nothing to perturb there are no reaches to bound
        self.ball = program.perturbation.ball if program.radii.any() else Linf()
        rows, patterns = clean.rows, clean.patterns
        first, self.group = _equal_rows(patterns)
        self.gates = patterns[first].astype(np.float64)
        moved = np.flatnonzero(program.radii.any(axis=0))
        self.moved = moved
        if self.ball.separable:
            self.scale, self.reaches = np.ones(len(moved)), program.radii[:, moved]
        else:
            self.scale, self.reaches = program.radii[0, moved], np.ones((len(rows), 1))
        self.signs = np.concatenate([np.where(patterns, 1.0, -1.0)] * 2, axis=1)
        self.bounding = np.concatenate([program.bounding, program.bounding], axis=1)
        projections = program.projections
        self.projections = None if projections is None else np.concatenate([projections] * 2)
        start = float(clean.weights @ clean.loss.value(np.zeros(len(rows)), clean.y))
        B = 2 * clean.n_patterns
        gates = np.concatenate([clean.gates.T, clean.gates.T])
        gates = gates / np.linalg.norm(gates, axis=1, keepdims=True)
        theta = max(0.1 * start / (clean.alpha * B), 1e-12) * gates
        T = self._reach_bounds(theta, self.signs)
        effective = self._effective(theta)
        G = np.abs(effective[:, moved]) * self.scale
        top = G if self.ball.separable else self.ball.falls(G)[:, None]
        self.x = theta, T, 0.0, top + 0.1 * (1.0 + top)
        self.n_iter, self.soften = 0, _SOFT
        self.degree = 2 * len(rows) + 2 * B + np.count_nonzero(self.bounding)
        self.degree += 2 * self.scale.size * (B + len(first))
        self.mu = max(start, 1e-12) / self.degree

    @property
    def theta(self):  # noqa: D102
        return self.x[0]

    @property
    def blocks(self):
        """The blocks v and w, shape (2, d, n_patterns)."""
        return np.stack(np.split(self.theta.T, 2, axis=1))

    @property
    def bias(self):  # noqa: D102
        return self.x[2]

    def _reach_bounds(self, theta, signs):
        """Bounds T between the reach of interior blocks and their smallest value on the rows."""
        values = signs * (self.clean.rows @ theta.T)
        u = np.abs(theta[:, self.moved]) * self.scale
        if not self.ball.separable:
            lowest = np.where(self.bounding, values, np.inf).min(axis=0)
            return (0.5 * (self.ball.falls(u) + lowest))[:, None]
        # the same excess for every feature: half of what the tightest row leaves
        room = values - self.reaches @ u.T
        room /= np.maximum(self.reaches.sum(axis=1), 1e-300)[:, None]
        room = np.where(self.bounding, room, np.inf)
        return u + 0.5 * np.minimum(room.min(axis=0), 1.0)[:, None]

    def _effective(self, theta):
        P = self.clean.n_patterns
        return self.gates @ self._on_faces(theta[:P] - theta[P:])

    def _on_faces(self, differences):
        return self.program.on_faces(differences.T).T

    def centre(self, max_steps):
        """Newton steps towards the centre of the present `mu`; false if rounding forbids any."""
        value = self._value(self.x)
        for _ in range(min(max_steps, _MOST_STEPS)):
            self.n_iter += 1
            try:
                direction, decrement = self._newton()
            except np.linalg.LinAlgError:
                decrement = 0.0
            step = self._step_inside(direction) if decrement > 0 else 0.0
            while step > 1e-6:
                trial = self._moved(direction, step)
                new = self._value(trial)
                if new <= value - 0.1 * step * decrement:
                    break
                step *= 0.5
            else:
                # rounding has spoiled the direction: a softer system has a safer one
                self.soften *= 100.0
                if self.soften > _SOFTEST:
                    return False
                continue
            self.x, value = trial, new
            if decrement < 0.1 * self.mu:
                break
        return True

    def _moved(self, direction, step):
        return tuple(a + step * b for a, b in zip(self.x, direction, strict=True))

    def _step_inside(self, direction):
        """A step of at most 1 that keeps a distance from the boundary.

        Newton's method doubles a distance that is too small, step by step.
        """
        low, high = 0.0, 1.1
        if np.isfinite(self._value(self._moved(direction, high))):
            return 1.0
        for _ in range(8):
            middle = 0.5 * (low + high)
            if np.isfinite(self._value(self._moved(direction, middle))):
                low = middle
            else:
                high = middle
            if low > 0.8 * high:
                break
        return 0.9 * low

    def tighten(self):
        """The next barrier parameter."""
        self.mu *= _SHRINK

    def _slack(self, theta, T):
        slack = self.signs * (self.clean.rows @ theta.T) - self.reaches @ T.T
        return np.where(self.bounding, slack, np.inf)

    def _value(self, x):
        """Value of the barrier function; inf outside of its domain."""
        theta, T, bias, Tg = x
        slack = self._slack(theta, T)
        if not (slack > 0).all():
            return np.inf
        G = self._effective(theta)
        gauges = self._gauge_value(theta, T) + self._gauge_value(G, Tg)
        if not np.isfinite(gauges):
            return np.inf
        outputs, reach = self._outputs(G, bias, Tg)
        total = self.clean.weights @ self._loss(outputs, reach)[0]
        alpha, mu = self.clean.alpha, self.mu
        norms = np.einsum("bj,bj->b", theta, theta)
        t = mu + np.sqrt(mu**2 + alpha**2 * norms)
        total += np.sum(t - mu * np.log(2.0 * mu * t / alpha**2))
        return total - mu * np.sum(np.log(slack[self.bounding])) + mu * gauges

    def _gauge_value(self, u, T):
        """Barrier of ``T >= |u|`` in the dual norm; inf outside."""
        slack = self.ball.gauge_slack(u[:, self.moved] * self.scale, T)
        return -np.sum(np.log(slack)) if ((slack > 0) & (T > 0)).all() else np.inf

    def _outputs(self, G, bias, Tg):
        outputs = np.einsum("kj,kj->k", self.clean.rows, G[self.group]) + bias
        return outputs, np.einsum("kj,kj->k", self.reaches, Tg[self.group])

    def _loss(self, outputs, reach):
        """Smoothed losses: value, slopes p in the output and e in the reach, second derivatives."""
        loss, y, mu = self.clean.loss, self.clean.y, self.mu / self.clean.weights
        if loss.target == "real":
            return _smooth_squares(outputs - y, reach, mu)
        margin = y * outputs - reach
        if np.isfinite(loss.curvature):
            value, q = loss.value(y * margin, y), -y * loss.derivative(y * margin, y)
            with np.errstate(divide="ignore"):
                curvature = 1.0 / loss.conjugate_curvature(-y * np.maximum(q, 1e-300), y)
            curvature = np.where(q > 0, curvature, 0.0)
        else:
            value, q, curvature = _smooth_hinge(1.0 - margin, mu)
        return value, -y * q, q, curvature, -y * curvature, curvature

    def _newton(self):
        """Newton direction of all variables, and minus the slope along it."""
        gradient, system = self._derivatives()
        direction = system.solve(gradient)
        # close to the boundary the eliminations lose digits: recover them
        for _ in range(_REFINEMENTS):
            product = system.multiply(direction)
            residual = [g + h for g, h in zip(gradient, product, strict=True)]
            more = system.solve(residual)
            direction = tuple(a + b for a, b in zip(direction, more, strict=True))
        slope = sum(float(np.sum(g * x)) for g, x in zip(gradient, direction, strict=True))
        return direction, -slope

    def _derivatives(self):
        """Gradient in all variables, and the Newton system."""
        theta, T, bias, Tg = self.x
        clean, mu, alpha = self.clean, self.mu, self.clean.alpha
        rows, R, moved, scale = clean.rows, self.reaches, self.moved, self.scale
        d = rows.shape[1]

        # blocks: cones, gauges, norms
        pull = mu / self._slack(theta, T)
        curve = pull**2 / mu
        gu, gT, Huu, HuT, HTT = self.ball.gauge(theta[:, moved] * scale, T)
        slope = -(self.signs * pull).T @ rows
        slope[:, moved] += mu * scale * gu
        slope_T = pull.T @ R + mu * gT
        own = _grams(rows, curve, rows)
        own[:, moved[:, None], moved] += mu * scale[:, None] * scale * Huu
        cross = -_grams(rows, self.signs * curve, R)
        cross[:, moved] += mu * scale[:, None] * HuT
        corner = _grams(R, curve, R) + mu * HTT
        root = np.sqrt(mu**2 + alpha**2 * np.einsum("bj,bj->b", theta, theta))[:, None]
        slope += alpha**2 / (mu + root) * theta
        bent = alpha**2 / ((mu + root) * np.sqrt(root)) * theta
        own += (alpha**2 / (mu + root))[:, :, None] * np.eye(d)
        own -= bent[:, :, None] * bent[:, None, :]
        if self.projections is not None:
            # nothing pulls blocks out of the subspaces of their cones
            inside = self.projections
            slope = np.einsum("bij,bj->bi", inside, slope)
            across = np.einsum("bii->b", own)[:, None, None] * (np.eye(d) - inside)
            own, cross = inside @ own @ inside + across, inside @ cross
        blocks = _Eliminated(own, cross, corner)

        # effective weights, with the bias as one more coordinate: losses, gauges
        G = self._effective(theta)
        _, p, e, pp, pe, ee = self._loss(*self._outputs(G, bias, Tg))
        constant = np.full((len(rows), 1), float(clean.fit_intercept))
        wide = np.concatenate([rows, constant], axis=1)
        gu, gT, Huu, HuT, HTT = self.ball.gauge(G[:, moved] * scale, Tg)
        member = (self.group[:, None] == np.arange(len(G))) * clean.weights[:, None]
        slope_G = (member * p[:, None]).T @ wide
        slope_G[:, moved] += mu * scale * gu
        slope_Tg = (member * e[:, None]).T @ R + mu * gT
        own = _grams(wide, member * pp[:, None], wide)
        own[:, moved[:, None], moved] += mu * scale[:, None] * scale * Huu
        cross = _grams(wide, member * pe[:, None], R)
        cross[:, moved] += mu * scale[:, None] * HuT
        corner = _grams(R, member * ee[:, None], R) + mu * HTT
        effective = _Eliminated(own, cross, corner)

        pushed = self._on_faces(self.gates.T @ slope_G[:, :d])
        slope += np.concatenate([pushed, -pushed])
        gradient = slope, slope_T, float(slope_G[:, d].sum()), slope_Tg
        system = _NewtonSystem(
            blocks,
            effective,
            self.gates,
            self._on_faces,
            self.program.projections,
            clean.fit_intercept,
            self.soften,
        )
        return gradient, system

    def multipliers(self):
        """A point of the dual, as `RobustADMM.multipliers`."""
        theta, T, bias, Tg = self.x
        rows, radii, moved = self.clean.rows, self.program.radii, self.moved
        G = self._effective(theta)
        _, p, e, *_ = self._loss(*self._outputs(G, bias, Tg))
        gu, gT = self.ball.gauge(G[:, moved] * self.scale, Tg)[:2]
        gradients = p[:, None] * rows
        gradients[:, moved] -= e[:, None] * radii[:, moved] * (gu / gT)[self.group]
        cones = self.mu / self._slack(theta, T)
        gu, gT = self.ball.gauge(theta[:, moved] * self.scale, T)[:2]
        moves = radii.T @ cones
        moves[moved] *= (gu / gT).T
        return p, e, gradients, cones, moves


class _Eliminated:
    """Matrices ``[[own, cross], [cross', corner]]`` whose second part is eliminated."""

    def __init__(self, own, cross, corner):
        self.own, self.cross, self.corner = own, cross, corner
        self.lift = np.linalg.solve(corner, np.swapaxes(cross, 1, 2))
        self.reduced = own - cross @ self.lift

    def multiply(self, first, second):
        """Both parts of the product."""
        return (
            np.einsum("bij,bj->bi", self.own, first) + np.einsum("bim,bm->bi", self.cross, second),
            np.einsum("bim,bi->bm", self.cross, first)
            + np.einsum("bmn,bn->bm", self.corner, second),
        )

    def reduce(self, second):
        """What the second right-hand side leaves in the first."""
        return -np.einsum("bmi,bm->bi", self.lift, second)

    def recover(self, first, second):
        """The second part of the solution, from the first and the second right-hand side."""
        alone = np.linalg.solve(self.corner, second[:, :, None])[:, :, 0]
        return alone - np.einsum("bmi,bi->bm", self.lift, first)


class _NewtonSystem:
    """The system in the blocks, their reaches, the bias and the reaches of the groups."""

    def __init__(self, blocks, effective, gates, on_faces, projections, intercept, soften):
        self.blocks, self.effective = blocks, effective
        self.gates, self.on_faces, self.intercept = gates, on_faces, intercept
        P, d = gates.shape[1], blocks.own.shape[1]
        largest = np.einsum("bii->bi", blocks.reduced).max(axis=1)
        softened = blocks.reduced + (soften * largest)[:, None, None] * np.eye(d)
        self.inverse = np.linalg.inv(softened)
        both = self.inverse[:P] + self.inverse[P:]
        self.parallel = np.linalg.inv(0.5 * (both + np.swapaxes(both, 1, 2)))
        M = effective.reduced
        pairs = (gates[:, :, None] * gates[:, None, :]).reshape(len(gates), -1)
        K = (pairs.T @ M[:, :d, :d].reshape(len(M), -1)).reshape(P, P, d, d)
        if projections is not None:
            K = projections[:, None] @ K @ projections
        index = np.arange(P)
        K[index, index] += self.parallel
        K = K.transpose(0, 2, 1, 3).reshape(P * d, P * d)
        if intercept:
            border = on_faces(gates.T @ M[:, :d, d]).reshape(-1, 1)
            K = np.block([[K, border], [border.T, M[:, d:, d:].sum(axis=0)]])
        squares = np.einsum("ii->i", K)
        if not (squares > 0.0).all():
            # rounding has left a matrix that has no factor
            raise np.linalg.LinAlgError("the Newton system is not positive definite")
        # each entry on its own scale
        entries = np.sqrt(squares)
        K /= entries
        K /= entries[:, None]
        K[np.diag_indices_from(K)] *= 1.0 + max(1e-14, 1e-3 * soften)
        self.factor, self.entries = cho_factor(K, lower=True, check_finite=False), entries

    def solve(self, gradient):
        """The direction x with ``H x = -gradient``."""
        slope, slope_T, slope_bias, slope_Tg = (-1.0 * part for part in gradient)
        P, d = self.gates.shape[1], slope.shape[1]
        pushed = self.effective.reduce(slope_Tg)
        through = self.on_faces(self.gates.T @ pushed[:, :d])
        slope = slope + self.blocks.reduce(slope_T) + np.concatenate([through, -through])
        alone = np.einsum("bij,bj->bi", self.inverse, slope)
        apart = alone[:P] - alone[P:]
        right = np.einsum("ibj,ij->ib", self.parallel, apart).ravel()
        if self.intercept:
            right = np.append(right, slope_bias + pushed[:, d].sum())
        solution = cho_solve(self.factor, right / self.entries, check_finite=False) / self.entries
        z = solution[: P * d].reshape(P, d)
        bias = float(solution[-1]) if self.intercept else 0.0
        pull = np.einsum("ibj,ij->ib", self.parallel, apart - z)
        moves = alone - np.einsum("bij,bj->bi", self.inverse, np.concatenate([pull, -pull]))
        moves_T = self.blocks.recover(moves, slope_T)
        return moves, moves_T, bias, self.effective.recover(self._wide(moves, bias), slope_Tg)

    def _wide(self, moves, bias):
        P = self.gates.shape[1]
        change = self.gates @ self.on_faces(moves[:P] - moves[P:])
        return np.concatenate([change, np.full((len(change), 1), bias)], axis=1)

    def multiply(self, x):
        """The product ``H x``."""
        moves, moves_T, bias, moves_Tg = x
        first, second = self.blocks.multiply(moves, moves_T)
        wide, third = self.effective.multiply(self._wide(moves, bias), moves_Tg)
        pushed = self.on_faces(self.gates.T @ wide[:, :-1])
        return first + np.concatenate([pushed, -pushed]), second, float(wide[:, -1].sum()), third


def _equal_rows(patterns):
    """First row of every distinct row of the patterns, and which of them each row is."""
    _, first, group = np.unique(
        np.packbits(patterns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return first, group.ravel()


def _grams(left, weights, right):
    """The matrices ``left' diag(weights[:, b]) right``, shape (B, i, j)."""
    products = (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
    return (weights.T @ products).reshape(weights.shape[1], left.shape[1], right.shape[1])


def _smooth_hinge(a, mu):
    r"""``min_e e - mu log(e) - mu log(e - a)``, its derivative and second derivative in a."""
    root = np.sqrt(a**2 + 4.0 * mu**2)
    # the larger of e and e - a without cancellation, the other from mu / e + mu / (e - a) = 1
    large = 0.5 * (np.abs(a) + 2.0 * mu + root)
    small = mu * large / (large - mu)
    e = np.where(a > 0, large, small)
    rest = np.where(a > 0, small, large)
    value = e - mu * np.log(e) - mu * np.log(rest)
    return value, mu / rest, mu / (e**2 + rest**2)


def _smooth_squares(residual, reach, mu):
    r"""``min_u (reach + u)^2 / 2 - mu log(u^2 - residual^2)`` and its derivatives."""
    size = np.abs(residual)
    # u = size + rest; steps of the logarithm of the rest keep it positive
    rest = np.sqrt(mu) + 0.0 * size
    low, high = np.zeros_like(rest), np.full_like(rest, np.inf)
    for _ in range(80):
        u = size + rest
        D = rest * (u + size)
        f = reach + u - 2.0 * mu * u / D
        low, high = np.where(f < 0, rest, low), np.where(f > 0, rest, high)
        slope = 1.0 + 2.0 * mu * (u**2 + residual**2) / D**2
        new = rest * np.exp(np.clip(-f / (slope * rest), -3.0, 3.0))
        bad = (new < low) | (new > high)
        new = np.where(bad, 0.5 * (low + np.minimum(high, 1e300)), new)
        done = np.abs(new - rest) <= 1e-14 * rest
        rest = new
        if done.all():
            break
    u = size + rest
    D = rest * (u + size)
    slope = 1.0 + 2.0 * mu * (u**2 + residual**2) / D**2
    mixed = -4.0 * mu * u * residual / D**2
    value = 0.5 * (reach + u) ** 2 - mu * np.log(D)
    p, e = 2.0 * mu * residual / D, 2.0 * mu * u / D
    pp = 2.0 * mu * (u**2 + residual**2) / D**2 - mixed**2 / slope
    return value, p, e, pp, -mixed / slope, 1.0 - 1.0 / slope
