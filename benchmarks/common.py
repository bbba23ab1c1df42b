"""What the benchmarks share: fresh processes, what they use, problems, reports."""

import datetime
import gc
import importlib
import importlib.metadata
import inspect
import json
import os
import platform
import resource
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
# forced kernels and cache sizes that some machines set for old builds; they slow a current numpy
FORCED_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
PACKAGES = (
    "sklearn_convexnet numpy scipy scikit-learn lightgbm catboost cvxpy clarabel pyscnn torch"
).split()


# ------------------------------------------------------------------------------ processes

# as an exception, which ends the processes of `fresh`, too
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def fresh(function, *, threads=1, limit=None, **arguments):
    """Call a function of a benchmark in a new process.

    Parameters
    ----------
    function : callable
        Top-level function of a file in this folder; returns something JSON can hold.
    threads : int or None
        BLAS threads; None leaves them to the libraries.
    limit : float or None
        CPU seconds that the process may take, imports included; on the clock four times as
        many, for machines that are shared.

    Returns
    -------
    object
        What the function returned, or ``{"failure": "limit" or the last line of the error}``.
    """
    env = {k: v for k, v in os.environ.items() if k not in THREADS + FORCED_KERNELS}
    if threads is not None:
        env.update(dict.fromkeys(THREADS, str(threads)))
    module = Path(inspect.getfile(function)).stem
    call = {"module": module, "function": function.__name__, "limit": limit, **arguments}
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "common.py")],
            input=json.dumps(call), env=env, timeout=None if limit is None else 4 * limit,
            capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failure": "limit"}
    if done.returncode == -signal.SIGXCPU:
        return {"failure": "limit"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failure": lines[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _serve(*, module, function, limit, **arguments):
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(np.ceil(limit)), resource.RLIM_INFINITY))
    print("\n" + json.dumps(getattr(importlib.import_module(module), function)(**arguments)))


class Usage:
    """Seconds and memory of a block.

    Attributes
    ----------
    wall, cpu : float
        Seconds.
    memory : float or None
        Peak resident memory in MB, over what was resident before; None where the system has
        no /proc.
    """

    def __enter__(self):
        gc.collect()
        if os.access("/proc/self/clear_refs", os.W_OK):
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self._before = _status("VmRSS"), time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error):
        resident, wall, cpu = self._before
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.memory = None if resident is None else max(_status("VmHWM") - resident, 0) / 1024


def resident():
    """Resident memory in MB; None where the system has no /proc."""
    kilobytes = _status("VmRSS")
    return None if kilobytes is None else kilobytes / 1024


def _status(field):
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


# ------------------------------------------------------------------------------- problems


@dataclass(frozen=True)
class Problem:
    """A sampled problem in the scaling of the papers: the loss a sum, the penalty `beta`.

    The files hold X (times X_scale, when present), y, G (a gate a column), beta and, when it is
    known, the optimum p_star.
    """

    X: np.ndarray
    y: np.ndarray
    gates: np.ndarray
    beta: float
    optimum: float | None

    @classmethod
    def load(cls, path):
        with np.load(path) as file:
            X, y, gates = (file[key].astype(float) for key in "XyG")
            scale = float(file["X_scale"]) if "X_scale" in file else 1.0
            optimum = float(file["p_star"]) if "p_star" in file else None
            return cls(scale * X, y, gates, float(file["beta"]), optimum)

    def save(self, path):
        known = {} if self.optimum is None else {"p_star": self.optimum}
        np.savez_compressed(path, X=self.X, y=self.y, G=self.gates, beta=self.beta, **known)

    def program(self, gates=None):
        """The program of the package, over these gates or others."""
        from sklearn_convexnet.program.pattern_program import PatternProgram

        gates = self.gates if gates is None else gates
        alpha = self.beta / len(self.X)
        return PatternProgram.from_data(
            self.X, self.y, self.X @ gates >= 0, alpha=alpha, gates=gates
        )


def teacher_problem(n, d, P, ratio=1.0, seed=0):
    """Standardised Gaussian data, targets of a noisy ReLU teacher, ``beta = ratio * beta_max``.

    From `beta_max` on the solution is zero. Gates that pass close to a sample are left out,
    so that solvers in single precision see the same patterns.
    """
    from sklearn_convexnet.bounds.dual import dual_norms

    rng = np.random.RandomState(seed)
    X = _standardised(rng.standard_normal((n, d)))
    hidden = np.maximum(X @ rng.standard_normal((d, 1 + d // 4)), 0.0)
    y = _standardised(hidden @ rng.standard_normal(hidden.shape[1])) + 0.1 * rng.standard_normal(n)
    X, y, gates = (a.astype(np.float32).astype(float) for a in (X, y, clear_gates(X, P, rng)))
    problem = Problem(X, y, gates, beta=float(n), optimum=None)
    program = problem.program()
    beta_max = n * dual_norms(program, -y, exact_above=0.0).max()
    return Problem(X, y, gates, float(ratio * beta_max), None)


def clear_gates(X, P, rng, margin=1e-5):
    """P gates with a relative margin of at least `margin` to every row."""
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    gates = np.empty((X.shape[1], 0))
    while gates.shape[1] < P:
        new = rng.standard_normal((X.shape[1], P))
        margins = np.abs(X @ new / lengths / np.linalg.norm(new, axis=0)).min(axis=0)
        gates = np.concatenate([gates, new[:, margins > margin]], axis=1)
    return gates[:, :P]


def _standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


# -------------------------------------------------------------------------------- reports


def report(name, title, *parts):
    """Print a report and write it to results/`name`.md.

    Parts are paragraphs, or tables: lists of rows, the first row the header.
    """
    parts = [part if isinstance(part, str) else _table(part) for part in parts]
    text = "\n\n".join([f"# {title}", _provenance(), *parts]) + "\n"
    print(text)
    path = HERE / "results" / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _table(rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
             for row in rows]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _provenance():
    """Command, date and machine; of paths the last part only."""
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    versions = [f"{name} {v}" for name in PACKAGES if (v := _version(name))]
    facts = [
        f"`{command}`",
        f"{datetime.date.today()}, {_cpu()}, {os.cpu_count()} cores "
        f"(load average {os.getloadavg()[2]:.1f}), BLAS kernels {', '.join(fresh(blas_kernels))}",
        f"Python {platform.python_version()}, {', '.join(versions)}",
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def blas_kernels():
    """Kernels that the BLAS libraries of numpy and scipy choose."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return sorted({f"{pool['internal_api']} {pool.get('architecture', '')}" for pool in pools})


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name == "sklearn_convexnet":
            return importlib.import_module(name).__version__
        return None


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    _serve(**json.load(sys.stdin))
