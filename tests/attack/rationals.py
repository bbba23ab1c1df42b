"""Networks with one hidden layer in rational arithmetic, and their worst case over small balls.

With one or two features the output is linear on the pieces of the ball that the switching points
(lines) of the neurons cut it into, so that its least value is at a corner of one of them.
"""

from fractions import Fraction
from itertools import combinations


def exact(values):
    """Nested lists of fractions of an array of floats."""
    if values.ndim:
        return [exact(value) for value in values]
    return Fraction(float(values))


class RationalNetwork:
    """The network (U, b, A, c) of floats, exactly."""

    def __init__(self, U, b, A, c):
        self.U, self.b, self.A, self.c = exact(U.T), exact(b), exact(A), exact(c)

    def outputs(self, x):
        hidden = [
            max(sum(u * v for u, v in zip(weights, x, strict=True)) + b, 0)
            for weights, b in zip(self.U, self.b, strict=True)
        ]
        return [
            sum(h * a[k] for h, a in zip(hidden, self.A, strict=True)) + c
            for k, c in enumerate(self.c)
        ]

    def margin(self, x, label):
        """Of a sample: y f(x) for one output, else that of the class minus the largest other."""
        outputs = self.outputs(x)
        if len(outputs) == 1:
            return outputs[0] if label else -outputs[0]
        return outputs[label] - max(out for k, out in enumerate(outputs) if k != label)

    def magnitude(self, x):
        """What rounding is relative to: the sum of all magnitudes."""
        hidden = [
            sum(abs(u * v) for u, v in zip(weights, x, strict=True)) + abs(b)
            for weights, b in zip(self.U, self.b, strict=True)
        ]
        return sum(h * max(map(abs, a)) for h, a in zip(hidden, self.A, strict=True)) + max(
            map(abs, self.c)
        )

    def corners(self, ball):
        """Corners of the linear pieces of all outputs within a ball."""
        if len(ball.centre) == 1:
            ((low, high),) = ball.sides
            kinks = [-b / u[0] for u, b in zip(self.U, self.b, strict=True) if u[0]]
            return [(low,), (high,), *((kink,) for kink in kinks if low <= kink <= high)]
        lines = [(*u, b) for u, b in zip(self.U, self.b, strict=True)] + ball.edges
        found = []
        for (a, b, c), (d, e, f) in combinations(lines, 2):
            determinant = a * e - b * d
            if determinant:
                point = (b * f - c * e) / determinant, (c * d - a * f) / determinant
                if ball.contains(point):
                    found.append(point)
        # comparisons of outputs (an argmax) are concave on the pieces, no more corners for them
        return found


class Ball:
    """Inputs x + delta, ``|delta_i / r_i|`` with maximum (norm inf) or sum (norm 1) at most one."""

    def __init__(self, x, radii, norm):
        self.centre, self.radii, self.norm = exact(x), radii, norm
        self.sides = [(v - r, v + r) for v, r in zip(self.centre, radii, strict=True)]

    @property
    def edges(self):
        (x, y), (r, s) = self.centre, self.radii
        if self.norm == 1:
            return [
                (i * s, j * r, -(i * s * x + j * r * y + r * s)) for i in (1, -1) for j in (1, -1)
            ]
        return [(1, 0, -side) for side in self.sides[0]] + [(0, 1, -side) for side in self.sides[1]]

    def contains(self, point):
        offsets = [abs(p - v) for p, v in zip(point, self.centre, strict=True)]
        if self.norm == 1:
            return sum(o / r for o, r in zip(offsets, self.radii, strict=True)) <= 1
        return all(o <= r for o, r in zip(offsets, self.radii, strict=True))
