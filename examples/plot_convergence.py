"""
Convergence: what the bounds do during a fit
============================================

A solver that only reports small steps may have stopped anywhere. Here every check has two
numbers: the objective of a feasible point, and a lower bound from a feasible point of the dual.
The optimum lies between them, whatever the solver did.
"""

# %%
# The history of a fit
# --------------------
# `history_` has an entry per check. An adaptive fit first *descends*, adding neurons between the
# descents, and only knows its objective; then it *certifies* the patterns found, and a lower bound
# appears. A small `tol` makes it go on until the two meet.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLURegressor, PatternProgram, solve
from sklearn_convexnet.plotting import ConvergenceDisplay

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
model = ConvexReLURegressor(alpha=1.0, tol=1e-3, random_state=0).fit(X, y)
print(f"{'phase':<9}{'iteration':>9}{'upper':>9}{'lower':>9}{'gap':>9}")
for entry in model.history_:
    print(
        f"{entry['phase']:<9}{entry['iteration']:>9}{entry['upper_bound']:9.1f}"
        f"{entry['lower_bound']:9.1f}{entry['gap']:9.0e}"
    )

# %%
# The objective is within 0.1 % of its end long before the lower bound can say so: most of the time
# goes into the proof. That is why a fit without `tol` ends at a gap of 0.05, or when the proof
# takes longer than the descent did, and why its objective is usually far more accurate. Here the
# descent with sharper and sharper kinks does not suffice for a `tol` of 0.001, and in the end
# the convex solver closes the gap. (The neurons move between two checks, and with them the patterns
# that a lower bound is about: it need not rise.)

figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
ConvergenceDisplay.from_estimator(model, ax=left)
ConvergenceDisplay.from_estimator(model, x="time", y="gap", ax=right)
right.set_xlabel("Time [s], on the machine that built this page")
plt.show()

# %%
# Solvers on the same program
# ---------------------------
# Below the estimators lie programs and solvers. A `PatternProgram` over given patterns has one
# optimum, and `solve` stops every solver by the same rule, so that they can be compared: the
# default, a short run of ADMM that an interior-point method finishes, and the two ADMM steps of
# Bai, Gautam and Sojoudi.

rng = np.random.RandomState(0)
A = rng.standard_normal((120, 6))
target = np.maximum(A @ rng.standard_normal((6, 4)), 0) @ rng.standard_normal(4)
gates = rng.standard_normal((6, 20))
program = PatternProgram.from_data(A, target, A @ gates >= 0, alpha=0.05, gates=gates)

figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for solver in ("admm", "admm-cholesky", "admm-rbcd"):
    result = solve(program, solver, tol=1e-5, max_iter=1000, random_state=0)
    print(f"{solver:<14} {result.status:<9} gap {result.gap:.0e} after {result.n_iter} iterations")
    ConvergenceDisplay.from_result(result, x="time", y="gap", name=solver, ax=ax)
ax.axhline(1e-5, color="0.5", linestyle=":", linewidth=1, label="tol")
ax.set(xscale="log", xlabel="Time [s], on the machine that built this page")
ax.legend()
plt.show()
