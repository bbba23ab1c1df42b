"""
Watching a fit, and stopping it
===============================

Fits that take long should say how far they are. With ``verbose=True`` every estimator prints a line
per check. With scikit-learn 1.9 or later there are *callbacks*: a progress bar through searches and
pipelines, scores, and rules of your own that end a fit early. This script needs scikit-learn 1.9 or
later, and the extras ``progress`` and ``plot``.
"""

# %%
# A line per check
# ----------------
# Phase, iteration, bounds, gap and seconds; of several outputs, which.

import matplotlib.pyplot as plt
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLURegressor
from sklearn_convexnet.plotting import ConvergenceDisplay

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
model = ConvexReLURegressor(alpha=1.0, tol=2e-3, random_state=0, verbose=True).fit(X, y)

# %%
# A progress bar
# --------------
# `ProgressBar` (it needs the package rich) goes to the outermost estimator, here a search. With a
# larger `max_propagation_depth` it shows the fits inside as well.

search = GridSearchCV(
    make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0)),
    {"convexreluregressor__alpha": [1.0, 3.0, 10.0]},
    cv=3,
)
search = search.set_callbacks(ProgressBar(max_propagation_depth=0)).fit(X, y)

# %%
# Scores
# ------
# `ScoringMonitor` scores the network that a fit ends with, on the data of the fit.

monitor = ScoringMonitor(scoring=("r2", "neg_mean_absolute_error"))
ConvexReLURegressor(alpha=1.0, random_state=0).set_callbacks(monitor).fit(X, y)
scores = monitor.get_logs().data[-1]
print({name: round(scores[name], 3) for name in ("r2", "neg_mean_absolute_error")})

# %%
# A rule of your own
# ------------------
# A callback is any object with four methods. At the end of every check it is given the entry of the
# history in `context`, and the fit stops when it returns True. This one is content when the
# objective has fallen by less than a thousandth since the last check.


class StopWhenFlat:
    """Stop a fit whose objective hardly falls any more."""

    def setup(self, estimator, context):
        """Before the fit."""
        self.last = None

    def teardown(self, estimator, context):
        """After it, also after an error."""

    def on_fit_task_begin(self, estimator, context):
        """Before every check, output and fit."""

    def on_fit_task_end(self, estimator, context):
        """After them: True stops the fit."""
        if context.task_name in ("fit", "output"):
            return False
        objective, last = context.history_entry["upper_bound"], self.last
        self.last = objective
        return last is not None and objective > 0.999 * last


stopped = ConvexReLURegressor(alpha=1.0, tol=2e-3, random_state=0)
stopped = stopped.set_callbacks(StopWhenFlat()).fit(X, y)

# %%
# A fit that was stopped is a fit: its network is the best so far, its gap is the true one, and
# nothing warns, because it ended as it was asked to. (Ctrl-C is different: it raises
# KeyboardInterrupt, and the estimator is what it was before.)

print(f"to the end: objective {model.objective_:.1f}, gap {model.dual_gap_:.1e}")
print(f"stopped:    objective {stopped.objective_:.1f}, gap {stopped.dual_gap_:.1e}")
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ConvergenceDisplay.from_estimator(model, name="to the end", ax=ax)
ConvergenceDisplay.from_estimator(stopped, name="stopped", ax=ax, markersize=8, zorder=3)
plt.show()
