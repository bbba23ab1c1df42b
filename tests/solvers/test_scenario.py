"""The scenario theorem behind the number of sampled directions, through the estimator.

The rows lie in a plane, and their moments make the random directions uniform on the circle: how
much of it one more direction would improve the optimum from is measured on a fine grid.
"""

import numpy as np
import pytest

from sklearn_convexnet import ConvexReLURegressor

X = np.array([[1.0, 0.5], [-1.0, -0.5], [-0.5, 1.0], [0.5, -1.0]])
XI, PSI = 0.25, 0.1
# N >= (2 / xi) (n + 1 - log psi)
N = int(np.ceil(2 / XI * (len(X) + 1 - np.log(PSI))))
ANGLES = 2.0 * np.pi * (np.arange(20_000) + 0.5) / 20_000
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)])


def fit(seed, alpha=1e-3):
    y = np.random.RandomState(seed).standard_normal(len(X))
    model = ConvexReLURegressor(
        patterns="random",
        solver="scp",
        n_patterns=N,
        alpha=alpha,
        fit_intercept=False,
        tol=1e-9,
        random_state=seed,
    ).fit(X, y)
    assert model.dual_gap_ <= 1e-9
    multipliers = (model.network_(X)[:, 0] - y) / len(X)
    improving = np.abs(multipliers @ np.maximum(X @ CIRCLE, 0.0)) > alpha * (1.0 + 1e-6)
    return model, improving.mean()


def test_all_directions_are_kept():
    model, _ = fit(0)
    # few patterns, but many directions
    assert model.patterns_.shape[1] <= 8
    assert model.certificate_.detail["n_directions"] == N
    assert f"first layer of {N} fixed directions" in str(model.certificate_)
    directions = np.arctan2(*model.coefs_[0])
    assert len(np.unique(np.round(directions, 9))) == model.n_neurons_


@pytest.mark.parametrize("n_seeds", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_one_more_direction_seldom_improves_the_sampled_optimum(n_seeds):
    models, improving = zip(*map(fit, range(n_seeds)), strict=True)
    error = 3.0 * np.std(improving) / np.sqrt(n_seeds)
    # with probability 1 - psi over the directions, the share of those that improve is at most xi
    assert np.mean(np.array(improving) > XI) <= PSI
    # its mean, which is that of the directions that matter over their number: half of the
    # directions would double it
    matter = np.mean([model.n_neurons_ for model in models])
    assert matter <= len(X) + 1
    assert abs(np.mean(improving) - matter / (N + 1)) <= error
    assert error < 0.5 * matter / (N + 1)


def test_a_warm_start_keeps_directions_but_takes_none_from_patterns():
    y = np.random.RandomState(0).standard_normal(len(X))
    common = {"patterns": "random", "n_patterns": N, "fit_intercept": False, "random_state": 0}
    cold = ConvexReLURegressor(solver="scp", alpha=0.01, **common).fit(X, y)
    model = ConvexReLURegressor(warm_start=True, alpha=0.01, **common).fit(X, y)
    n_patterns = model.patterns_.shape[1]
    for solver in ("scp", "admm"):
        model.set_params(solver=solver).fit(X, y)
        assert model.patterns_.shape[1] == n_patterns
        if solver == "scp":
            np.testing.assert_array_equal(model.predict(X), cold.predict(X))
    kept = ConvexReLURegressor(solver="scp", warm_start=True, alpha=0.1, **common).fit(X, y)
    again = kept.set_params(alpha=0.01, random_state=1).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), cold.predict(X))


def test_directions_do_not_tell_weights_from_repetitions():
    y = np.random.RandomState(0).standard_normal(len(X))
    weights = np.array([1, 3, 2, 1])
    model = ConvexReLURegressor(patterns="random", solver="scp", alpha=0.01, random_state=0)
    weighted = model.fit(X, y, weights).predict(X)
    repeated = model.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights)).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)
