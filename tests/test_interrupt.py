"""Ctrl-C, or an error, in a fit: the estimator is as it was before, and no worker is left."""

import copy
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import sklearn_convexnet
from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    RobustConvexReLUClassifier,
)
from sklearn_convexnet.core import parallel as threads

PACKAGE = str(Path(sklearn_convexnet.__file__).parent)

rng = np.random.RandomState(0)
X = rng.standard_normal((20, 3))
y = (np.abs(X[:, 0]) > X[:, 1]).astype(int)

SMALL = {"n_patterns": 3, "tol": 0.5, "random_state": 0}
MODELS = [
    ConvexReLUClassifier(alpha=0.1, **SMALL),
    ConvexReLURegressor(alpha=0.1, warm_start=True, **SMALL),
    RobustConvexReLUClassifier(alpha=0.1, **SMALL),
    ConvexReLUClassifierCV(alphas=[0.1], cv=2, patterns="random", **SMALL),
]


class CtrlCAtCall:
    """Counts the calls of functions of the package, and presses Ctrl-C at one of them.

    Not in the module of the limits of BLAS, which has tests of its own.
    """

    def __init__(self, at=None):
        self.at, self.count = at, 0

    def __call__(self, frame, event, _):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE) and file != threads.__file__:
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)


class CtrlC:
    """A terminal at which Ctrl-C is pressed as soon as something is printed."""

    def write(self, text):
        # not the signal: where tests run in the background, it is ignored
        raise KeyboardInterrupt

    def flush(self):
        """Nothing to do."""


def assert_unchanged(model, before):
    after = vars(model)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_an_interrupted_fit_leaves_the_last_one_whole(model):
    model.fit(X, y)
    before, predictions = dict(vars(model)), model.predict(X)
    # other features, so that a trace of it would show
    other = X[:, :2], 1 - y
    twin = copy.deepcopy(model)
    with CtrlCAtCall() as calls:
        twin.fit(*other)
    # from the first call to the last
    for at in np.linspace(1, calls.count, 6).astype(int):
        with CtrlCAtCall(at), pytest.raises(KeyboardInterrupt):
            model.fit(*other)
        assert_unchanged(model, before)
    np.testing.assert_array_equal(model.predict(X), predictions)


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda model: type(model).__name__)
def test_ctrl_c_at_a_check_of_the_first_fit_leaves_nothing(model):
    model = type(model)(**SMALL, verbose=True)
    before = dict(vars(model))
    with redirect_stdout(CtrlC()), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert_unchanged(model, before)
    with pytest.raises(NotFittedError):
        model.predict(X)
    # and it can be fitted now
    assert model.set_params(verbose=False).fit(X, y).n_features_in_ == 3


def test_an_error_about_new_data_leaves_the_last_fit_whole():
    model = ConvexReLUClassifier(**SMALL).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit(X[:, :2], np.zeros(20))
    assert_unchanged(model, before)


# A fit that would take hours in two processes, interrupted once they are there.
INTERRUPTED = """
import json, os, pathlib, signal, threading, time
import numpy as np
from sklearn_convexnet import ConvexReLUClassifier

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored

def workers():
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = status.with_name("cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if parent == os.getpid() and "popen_loky" in command:
            found.append(status.parent.name)
    return found

def interrupt():
    while len(workers()) < 2:
        time.sleep(0.05)
    seen.extend(workers())
    os.kill(os.getpid(), signal.SIGINT)

X = np.random.RandomState(0).standard_normal((3000, 20))
y = np.random.RandomState(1).randint(3, size=3000)
model = ConvexReLUClassifier(alpha=1e-7, tol=1e-12, n_patterns=3000, n_jobs=2, max_iter=10**7)
seen, before = [], set(vars(model))
threading.Thread(target=interrupt, daemon=True).start()
try:
    model.fit(X, y)
    interrupted = False
except KeyboardInterrupt:
    interrupted = True
until = time.monotonic() + 60
while workers() and time.monotonic() < until:
    time.sleep(0.05)
print(json.dumps([interrupted, len(seen), workers(), sorted(set(vars(model)) - before)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_leaves_no_workers():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [True, 2, [], []]
