"""Hours of random problems, random parameters and random interrupts: what breaks?"""

import argparse
import contextlib
import copy
import gc
import itertools
import pickle
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter

import joblib
import numpy as np
import sklearn
from common import report, resident
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from soak_cases import ESTIMATORS, draw_case
from threadpoolctl import threadpool_info

from sklearn_convexnet import RobustConvexReLUClassifier
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.program.relaxation import Relaxation

# the errors that the documentation announces for data or parameters like these
DOCUMENTED = [
    "needs samples of at least two classes of positive weight",
    "must have a row that is not zero when fit_intercept=False",
    "are not realised by any hyperplane",
    "patterns must hold at least one pattern that is active on a row",
    "The objective is not finite",
    "outputs are not finite",
    "The (codes|reconstructions) are not finite",
    "Gradient descent has diverged",
    "Training diverged at step",
    "cv: every training set must have samples of at least two classes",
]
# besides those about convergence
WARNINGS = ["has no neurons: none of the .* activation patterns that were tried leaves room"]
# CPU seconds after which a fit counts as hanging
HANGING = 600


class Broken(AssertionError):
    """An invariant does not hold."""


def ensure(condition, what):
    """Raise Broken unless the condition holds."""
    if not condition:
        raise Broken(what)


# -------------------------------------------------------------------------------------- interrupts


class Terminal:
    """Swallows what is printed; Ctrl-C is pressed at one line."""

    def __init__(self, line=None):
        self.line, self.lines = line, 0

    def write(self, text):
        self.lines += text.count("\n")
        if self.lines == self.line:
            self.line = None
            raise KeyboardInterrupt

    def flush(self):
        """Nothing to do."""


@contextlib.contextmanager
def alarm(which, seconds, error):
    """Raise an error in the main thread once so much time has passed in the block."""
    kinds = {
        "real": (signal.ITIMER_REAL, signal.SIGALRM),
        "cpu": (signal.ITIMER_PROF, signal.SIGPROF),
    }
    timer, number = kinds[which]

    def ring(*_):
        raise error

    before = signal.signal(number, ring)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)


# ------------------------------------------------------------------------------------------ checks


class Run:
    """One case, from the first fit to the last check; `counts` says what happened."""

    def __init__(self, seed):
        self.case = draw_case(seed)
        self.counts = Counter()
        arrays = [self.case.X, self.case.y, self.case.sample_weight]
        self.arrays = [array for array in arrays if array is not None]
        self.originals = copy.deepcopy(self.arrays)
        for array in self.arrays:
            array.setflags(write=not self.case.read_only)

    def __call__(self):
        """Fit and check; raises what went wrong."""
        before = _global_state()
        with alarm("cpu", HANGING, Broken(f"more than {HANGING} CPU seconds")):
            try:
                self._fits()
            except ValueError as error:
                if not any(re.search(known, str(error)) for known in DOCUMENTED):
                    raise
                self.counts["documented errors"] += 1
        for array, original in zip(self.arrays, self.originals, strict=True):
            ensure(np.array_equal(array, original), "the caller's arrays have changed")
        after = _global_state()
        ensure(after == before, f"the fit leaves traces: {before} before, {after} after")

    def _fits(self):
        case = self.case
        model, began, terminal = clone(case.model).set_params(verbose=1), time.time(), Terminal()
        with contextlib.redirect_stdout(terminal):
            self._fit(model)
        seconds = time.time() - began
        model.set_params(verbose=0)
        self._check_fitted(model)
        self._check_pickle(model)
        again = clone(case.model)
        self._fit(again)
        _ensure_same(model, again, "a second fit differs")
        if case.backend:
            parallel = clone(case.model).set_params(n_jobs=2)
            with joblib.parallel_backend(case.backend):
                self._fit(parallel)
            _ensure_same(model, parallel, f"a fit with n_jobs=2 ({case.backend}) differs")
        if case.interrupt:
            self._interrupt(again, terminal.lines, seconds)
            fresh = clone(case.model)
            self._interrupt(fresh, terminal.lines, seconds)
            # the interrupt may have come after the fit
            self._fit(clone(case.model) if hasattr(fresh, "n_features_in_") else fresh)
            _ensure_same(model, fresh, "a fit after an interrupted one differs")
        if _warm(case.model):
            self._fit(model)
            self._check_fitted(model, start=again)

    def _fit(self, model):
        case = self.case
        args = [case.X] if case.y is None else [case.X, case.y]
        kwargs = {} if case.sample_weight is None else {"sample_weight": case.sample_weight}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*args, **kwargs)
            self.counts["fits"] += 1
        shortcomings = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
        for one in caught:
            known = one in shortcomings or any(re.search(w, str(one.message)) for w in WARNINGS)
            ensure(known, f"unexpected warning: {one.category.__name__}: {one.message}")
        if hasattr(model, "dual_gap_"):
            short = model.dual_gap_ > model.tol
            ensure(short == bool(shortcomings), f"gap {model.dual_gap_}, warnings {shortcomings}")
        self.counts["not converged"] += bool(shortcomings)

    def _interrupt(self, model, n_lines, seconds):
        """Press Ctrl-C in a fit: the estimator has to be as it was, or fitted."""
        case = self.case
        model.set_params(verbose=int(case.interrupt == "line"))
        before, fits = dict(vars(model)), self.counts["fits"]
        line = 1 + int(case.when * n_lines) if case.interrupt == "line" else None
        try:
            with contextlib.redirect_stdout(Terminal(line)):
                if line is None:
                    with alarm("real", 1e-4 + case.when * seconds, KeyboardInterrupt):
                        self._fit(model)
                else:
                    self._fit(model)
        except KeyboardInterrupt:
            self.counts["interrupts"] += 1
            if self.counts["fits"] > fits:
                return  # it came after the fit
            after = vars(model)
            whole = after.keys() == before.keys()
            whole = whole and all(after[name] is before[name] for name in before)
            ensure(whole, "an interrupted fit has left something behind")
        finally:
            model.set_params(verbose=0)

    def _check_pickle(self, model):
        other = pickle.loads(pickle.dumps(model))
        for one, two in zip(
            _outputs(model, self.case.X), _outputs(other, self.case.X), strict=True
        ):
            ensure(np.array_equal(one, two), "a pickled estimator predicts otherwise")

    # ---------------------------------------------------------------------- what a fit must be

    def _check_fitted(self, model, start=None):
        X = self.case.X
        for name, value in vars(model).items():
            if name.endswith("_") and isinstance(value, float | np.ndarray):
                numeric = np.asarray(value).dtype.kind == "f"
                ensure(not numeric or np.isfinite(value).all(), f"{name} is not finite")
        for outputs in _outputs(model, X):
            ensure(outputs.dtype.kind != "f" or np.isfinite(outputs).all(), "outputs not finite")
        if not hasattr(model, "objective_"):
            return
        for array in [*model.coefs_, *model.intercepts_]:
            ensure(np.isfinite(array).all(), "weights are not finite")
        expected, plain = self._objective(model)
        close = np.isclose(model.objective_, expected, rtol=1e-6, atol=1e-300)
        ensure(close, f"objective_ {model.objective_!r}, recomputed {expected!r}")
        ensure(
            plain <= expected * (1 + 1e-9), f"robust objective {expected} below the plain {plain}"
        )
        if start is not None and getattr(model, "formulation", None) == "relaxed":
            worse = model.objective_ > start.objective_ * (1 + 1e-9)
            ensure(not worse, f"warm start from {start.objective_} to {model.objective_}")
        if hasattr(model, "lower_bound_"):
            self._check_bounds(model)

    def _check_bounds(self, model):
        above, lower = model.objective_ * (1 + 1e-9), model.lower_bound_
        ensure(0 <= lower and 0 <= model.dual_gap_ <= 1, f"bound {lower}, gap {model.dual_gap_}")
        upper = sum({entry["output"]: entry["upper_bound"] for entry in model.history_}.values())
        ensure(lower <= upper * (1 + 1e-9), f"lower bound {lower} above the upper one {upper}")
        if not hasattr(model, "certificate_"):
            return
        proof = model.certificate_
        ensure(0 <= proof.lower_bound <= above, f"certified {proof.lower_bound}, {above}")
        ensure(proof.detail["proved_lower_bound"] <= above, "proved more than there is")
        str(proof)
        # where other patterns are possible, the network may have found better ones
        if isinstance(model.patterns, str) and model.patterns == "all":
            ensure(lower <= above, f"lower_bound_ {lower} above objective_ {model.objective_}")

    def _objective(self, model):
        """The objective of the network, from its definition; and without perturbations."""
        X, y = self.case.X.astype(float), self.case.y
        weights = np.ones(len(X)) if self.case.sample_weight is None else self.case.sample_weight
        if is_classifier(model):
            if getattr(model, "class_weight", None) == "balanced":
                totals = {label: weights[y == label].sum() for label in model.classes_}
                weights = weights / np.array([totals.get(label, 1.0) for label in y])
            positive = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
            targets = np.where(y[:, None] == positive, 1.0, -1.0)
        else:
            targets = y.reshape(len(y), -1)
        used, weights = weights > 0, weights / weights.sum()
        X, targets, weights = X[used], targets[used], weights[used]
        loss = get_loss(model.loss)
        alphas = np.broadcast_to(
            vars(model)["alpha_" if "alpha_" in vars(model) else "alpha"], targets.shape[1]
        )
        total = plain = 0.0
        for part, target, alpha in zip(model.network_.split(), targets.T, alphas, strict=True):
            penalty = alpha * part.penalty()
            plain += weights @ loss.value(part(X)[:, 0], target) + penalty
            if isinstance(model, RobustConvexReLUClassifier):
                moved = Perturbation(model.epsilon, model.norm, model.bounds)
                balls = Relaxation(X, target, moved, fit_intercept=model.fit_intercept)
                worst = loss.value(balls.margins(part), np.ones(len(X)))
                total += weights @ worst + penalty
        return (total, plain) if isinstance(model, RobustConvexReLUClassifier) else (plain, plain)


def _warm(model):
    return model.get_params().get("warm_start", False)


def _outputs(model, X):
    """All that a fitted estimator says about X."""
    names = ("predict", "decision_function", "predict_proba", "transform")
    return [getattr(model, name)(X) for name in names if hasattr(model, name)]


def _ensure_same(one, other, what):
    if hasattr(one, "components_"):
        names = ("components_", "encoder_", "intercept_", "thresholds_", "gains_", "offsets_")
        pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    else:
        pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
        ensure(one.objective_ == other.objective_, f"{what}: {one.objective_}, {other.objective_}")
    ensure(all(np.array_equal(a, b) for a, b in pairs), what)


def _global_state():
    """What a fit has to leave as it was: threads of BLAS, settings of the libraries."""
    pools = {p["filepath"]: p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
    return pools, sklearn.get_config(), np.geterr()


# -------------------------------------------------------------------------------------------- loop


def soak(first, step, until):
    """Run the cases `first`, `first` + `step`, ... until a time; returns what happened."""
    counts, failures, memory, slowest = Counter(), [], [], (0.0, None)
    for seed in itertools.count(first, step):
        if time.time() >= until:
            break
        run, began = Run(seed), time.process_time()
        name = type(run.case.model).__name__
        failure = failure_of(run)
        if failure is not None:
            failures.append((seed, name, failure))
            print(f"FAILED --only {seed}: {run.case}\n    {failure}", flush=True)
        counts.update({(name, key): count for key, count in run.counts.items()})
        counts[name, "problems"] += 1
        slowest = max(slowest, (time.process_time() - began, seed))
        del run
        gc.collect()
        memory.append(resident())
    return counts, failures, memory, slowest


def failure_of(run):
    """What went wrong in a run, in one line; None if nothing did."""
    try:
        run()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        )
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; others follow")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", type=int, help="the case of this seed, with a traceback")
    args = parser.parse_args()
    if args.only is not None:
        run = Run(args.only)
        print(run.case)
        run()
        print(dict(run.counts))
        return

    until = time.time() + 60 * args.minutes
    done = joblib.Parallel(n_jobs=args.jobs)(
        joblib.delayed(soak)(args.seed + k, args.jobs, until) for k in range(args.jobs)
    )
    counts = sum((one[0] for one in done), Counter())
    failures = sorted(itertools.chain.from_iterable(one[1] for one in done))
    keys = ["problems", "fits", "interrupts", "not converged", "documented errors"]
    names = [make.__name__ for make in ESTIMATORS]
    rows = [["estimator", *keys, "failures"]]
    for name in names:
        failed = sum(one == name for _, one, _ in failures)
        rows.append([name, *(counts[name, key] for key in keys), failed])
    totals = [sum(counts[name, key] for name in names) for key in keys]
    rows.append(["all", *totals, len(failures)])
    resident_rows = [["process", "problems", "MB, first tenth", "MB, last tenth"]]
    for k, (_, _, memory, _) in enumerate(done):
        tenth = max(1, len(memory) // 10)
        ends = (memory[:tenth], memory[-tenth:])
        cells = ["-" if None in end else f"{max(end):.0f}" for end in ends]
        resident_rows.append([k + 1, len(memory), *cells])
    seconds, seed = max(one[3] for one in done)
    broken = [f"- `--only {seed}`, {name}: {failure}" for seed, name, failure in failures]
    report(
        "soak",
        "Random problems, parameters and interrupts",
        f"{args.minutes:g} minutes, seeds from {args.seed}. Every problem is fitted, checked, "
        "pickled, fitted again, interrupted and fitted once more; counted are whole fits. A fit "
        "that has not converged says so by a warning. The interrupts come when a line is printed "
        "or after a random time.",
        rows,
        "Largest resident memory after a problem:",
        resident_rows,
        f"The slowest problem (`--only {seed}`) took {seconds:.0f} CPU seconds with all its fits.",
        "\n".join(["Failures:", "", *broken]) if broken else "Failures: none.",
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
