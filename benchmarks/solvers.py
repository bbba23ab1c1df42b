"""Time to a given accuracy on sampled programs: our solvers, CVXPY + Clarabel, pyscnn.

Run ``python benchmarks/solvers.py --help``; how to read the tables is in README.md.
"""

import argparse
import importlib
import importlib.util
import json
import logging
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from common import Problem, Usage, fresh, report, teacher_problem

# relative gap of the solve that stands in for an unknown optimum
REFERENCE_TOL = 1e-9
# runs longer than this many CPU seconds are not repeated
LONG = 3.0


# ------------------------------------------------------------- the solvers, in a fresh process
# A solver is prepared outside the clock with one setting and returns what is timed: a function
# without arguments that returns (program, v, w, certified gap or None, note).


def prepare_convexnet(problem, program, *, solver="admm", polish=True, tol):
    module = importlib.import_module("sklearn_convexnet.solvers.solve")
    if not polish:
        _ = module._polish_is_worth_it  # an error if it has another name by now
        module._polish_is_worth_it = lambda *args: False

    def run():
        result = module.solve(program, solver, tol=tol, max_iter=10**6, random_state=0)
        point, note = result.solution, f"{result.n_iter} iterations, {result.status}"
        return program, point.v, point.w, result.gap, note

    return run


def prepare_clarabel(problem, program, *, tol):
    import cvxpy as cp

    def run():
        patterns = program.patterns.astype(float)
        signs = 2 * patterns - 1
        v, w = (cp.Variable((problem.X.shape[1], program.n_patterns)) for _ in range(2))
        outputs = cp.sum(cp.multiply(patterns, problem.X @ (v - w)), axis=1)
        norms = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
        model = cp.Problem(
            cp.Minimize(0.5 * cp.sum_squares(outputs - problem.y) + problem.beta * norms),
            [cp.multiply(signs, problem.X @ v) >= 0, cp.multiply(signs, problem.X @ w) >= 0],
        )
        model.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)
        stats = model.solver_stats
        note = f"{stats.num_iters} iterations, {stats.solve_time:.1f} s without CVXPY"
        return program, v.value, w.value, None, note

    return run


def prepare_scnn(problem, program, *, dtype, tol):
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    logging.disable(logging.WARNING)
    # columns of unit length, as its unitize_data makes them of standardised data; one factor for
    # all columns, so that its objective is ours / n
    scale = np.sqrt(np.mean(np.sum(problem.X**2, axis=0)))
    penalty = NeuronGL1(problem.beta / (len(problem.X) * scale))

    def run():
        model = ConvexReLU(problem.gates)
        solver = AL(model, tol=tol, constraint_tol=tol)
        model, _ = optimize_model(
            model, solver, Metrics(), problem.X / scale, problem.y, regularizer=penalty,
            return_convex=True, unitize_data=False, dtype=dtype,
        )  # fmt: skip
        v, w = (np.asarray(block, dtype=float)[0].T / scale for block in model.parameters)
        # it sorts the gates; its own program is ours in another order
        own = problem.program(np.asarray(model.G, dtype=float))
        if own.n_patterns != program.n_patterns or v.shape[1] != own.n_patterns:
            raise RuntimeError("pyscnn sees other patterns")
        return own, v, w, None, f"tol {tol:.0e}, {dtype}"

    return run


def _same_target(target):
    return [{"tol": target}]


def _tighter_and_tighter(target):
    return [{"tol": target * 10.0**-k} for k in range(4)]


def _scnn_sweep(target):
    single = [{"dtype": "float32", "tol": tol} for tol in (1e-6, 1e-7)]
    return single + [{"dtype": "float64", "tol": tol} for tol in (1e-8, 1e-10, 1e-12)]


# name: (prepare, fixed arguments, settings to try for a target, package it needs)
SOLVERS = {
    "admm": (prepare_convexnet, {}, _same_target, None),
    "admm, no polish": (prepare_convexnet, {"polish": False}, _same_target, None),
    "admm-cholesky": (prepare_convexnet, {"solver": "admm-cholesky"}, _same_target, None),
    "admm-rbcd": (prepare_convexnet, {"solver": "admm-rbcd"}, _same_target, None),
    "CVXPY + Clarabel": (prepare_clarabel, {}, _tighter_and_tighter, "clarabel"),
    "pyscnn AL": (prepare_scnn, {}, _scnn_sweep, "scnn"),
}
OURS, PEERS = "admm", ("CVXPY + Clarabel", "pyscnn AL")


def measure(path, solver, setting):
    """One run, timed; the point is judged outside the clock, projected on the cones."""
    problem = Problem.load(path)
    program = problem.program()
    prepare, fixed, *_ = SOLVERS[solver]
    run = prepare(problem, program, **fixed, **setting)
    with Usage() as usage:
        program, v, w, gap, note = run()
    objective = len(problem.X) * program.objective(*program.feasible_point(v, w), 0.0)
    return {
        "wall": usage.wall, "cpu": usage.cpu, "memory": usage.memory, "objective": objective,
        "violation": program.violation(v, w), "gap": gap, "note": note,
    }  # fmt: skip


def generate(path, **sizes):
    """Write a teacher problem to a file."""
    teacher_problem(**sizes).save(path)


# ------------------------------------------------------------------------------ the comparison


class Comparison:
    """Runs on one problem, each (solver, setting) at most `repeats` times."""

    def __init__(self, name, path, args):
        self.name, self.path, self.args = name, path, args
        self.runs = {}
        self.optimum, self.source = Problem.load(path).optimum, "the file"
        if self.optimum is None:
            setting = {"tol": REFERENCE_TOL}
            reference = fresh(measure, path=path, solver=OURS, setting=setting)
            if "failure" in reference:
                raise RuntimeError(f"{name}: no reference solution, {reference['failure']}")
            self.optimum = reference["objective"]
            self.source = f"`{OURS}`, certified to {reference['gap']:.0e}"

    def _run(self, solver, setting, repeats=1):
        key = solver, json.dumps(setting)
        runs = self.runs.setdefault(key, [])
        while len(runs) < repeats and not (runs and _is_final(runs[0])):
            runs.append(
                fresh(
                    measure, limit=self.args.limit, path=self.path, solver=solver, setting=setting
                )
            )
            print(f"... {self.name}: {solver} {setting} {runs[-1]}", file=sys.stderr, flush=True)
        if "failure" in runs[0]:
            return runs[0]
        complete = [run for run in runs if "failure" not in run]
        return {
            **complete[0],
            **{key: median(run[key] for run in complete) for key in ("wall", "cpu")},
        }

    def error(self, run):
        """Relative error of the objective of a run's feasible point."""
        return (run["objective"] - self.optimum) / self.optimum

    def row(self, solver):
        """For every target the first run that reaches it, or why none does."""
        *_, settings, package = SOLVERS[solver]
        if package is not None and importlib.util.find_spec(package) is None:
            return ["not installed"] * len(self.args.targets)
        found = []
        for target in sorted(self.args.targets, reverse=True):
            stopped = found and not isinstance(found[-1], dict)
            found.append(found[-1] if stopped else self._first(solver, settings(target), target))
        return found

    def _first(self, solver, settings, target):
        for setting in settings:
            run = self._run(solver, setting)
            if run.get("failure") == "limit":
                return f"> {self.args.limit:g}"
            if "failure" in run:
                return "failed: " + run["failure"][:60].replace("|", "/")
            certified = run["gap"] is None or run["gap"] <= target
            if certified and self.error(run) <= target:
                return self._run(solver, setting, self.args.repeats)
        return "-"

    def best(self, solver):
        """The most accurate of all runs of a solver, None without one."""
        runs = [r[0] for (name, _), r in self.runs.items() if name == solver]
        return min((r for r in runs if "failure" not in r), key=self.error, default=None)


def _is_final(run):
    return "failure" in run or run["cpu"] > LONG


def table_of_seconds(comparison, rows):
    targets = sorted(comparison.args.targets, reverse=True)
    header = ["solver", *(f"s to {t:.0e}" for t in targets), "error", "violation", "MB", "last run"]
    lines = [header]
    for solver, found in rows.items():
        cells = [f"{r['wall']:.2f} / {r['cpu']:.2f}" if isinstance(r, dict) else r for r in found]
        best = comparison.best(solver)
        if best is None:
            lines.append([solver, *cells, *["-"] * 4])
            continue
        memory = "-" if best["memory"] is None else f"{best['memory']:.0f}"
        error, violation = (f"{v:.0e}" for v in (comparison.error(best), best["violation"]))
        lines.append([solver, *cells, error, violation, memory, best["note"]])
    return lines


def ratios(comparison, rows):
    """CPU seconds of the peers over those of our default, a row for the table of ratios."""
    cells = []
    for peer in PEERS:
        for ours, theirs in zip(rows.get(OURS, ()), rows.get(peer, ()), strict=False):
            if not isinstance(ours, dict):
                cells.append("-")
            elif isinstance(theirs, dict):
                cells.append(f"{theirs['cpu'] / ours['cpu']:.1f}")
            elif theirs.startswith(">"):
                cells.append(f"> {comparison.args.limit / ours['cpu']:.0f}")
            else:
                cells.append(theirs)
    return [comparison.name, *cells]


def cross_check(comparison):
    """How far the most accurate Clarabel run is from the optimum that the errors refer to."""
    best = comparison.best("CVXPY + Clarabel")
    if best is None:
        return "not cross-checked, Clarabel returned nothing"
    return f"Clarabel's best is {comparison.error(best):+.0e} from it"


def problems(args, folder):
    """Names and paths of the problems: the files given, and those generated into `folder`."""
    if args.problems:
        for path in sorted(args.problems.glob("*.npz")):
            yield path.stem, str(path)
    for size in args.sizes:
        n, d, P = (int(part) for part in size.split("x"))
        for ratio in args.ratios:
            path = str(Path(folder) / f"{size}-{ratio}.npz")
            outcome = fresh(generate, path=path, n=n, d=d, P=P, ratio=ratio)
            if outcome is not None:
                raise RuntimeError(f"cannot generate {size}: {outcome['failure']}")
            yield f"teacher n={n} d={d} P={P}, {ratio} beta_max", path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=Path, help="folder of *.npz problems")
    parser.add_argument("--sizes", nargs="*", default=["500x20x100", "2000x30x200"],
                        metavar="NxDxP", help="teacher problems to generate")  # fmt: skip
    parser.add_argument("--ratios", nargs="*", type=float, default=[0.03, 0.003],
                        help="beta / beta_max of the generated problems")  # fmt: skip
    parser.add_argument("--targets", nargs="*", type=float, default=[1e-2, 1e-4, 1e-6])
    parser.add_argument("--solvers", nargs="*", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--repeats", type=int, default=3, help=f"of runs below {LONG:g} CPU s")
    parser.add_argument("--report", default="solvers", help="name of the report in results/")
    parser.add_argument("--limit", type=float, default=300, help="CPU seconds per run")
    args = parser.parse_args()

    sections, summary = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in problems(args, folder):
            comparison = Comparison(name, path, args)
            rows = {solver: comparison.row(solver) for solver in args.solvers}
            sections += [
                f"## {name}\n\nOptimum {comparison.optimum:.10g} ({comparison.source}); "
                f"{cross_check(comparison)}.",
                table_of_seconds(comparison, rows),
            ]
            summary.append(ratios(comparison, rows))
            write(args, summary, sections)  # after every problem: a stopped run has a report


def write(args, summary, sections):
    targets = sorted(args.targets, reverse=True)
    peers = [f"{name}, {t:.0e}" for name in PEERS if name in args.solvers for t in targets]
    report(
        args.report,
        "Seconds to a given accuracy",
        "Seconds are wall / CPU of one BLAS thread, each run a fresh process, to the relative "
        f"error in the header. `-`: never reached; `> {args.limit:g}`: no answer within these CPU "
        "seconds. Our solvers stop at a certified gap; the others are given the tolerance that "
        "suits them and judged by the objective of their point projected on the cones. Columns to "
        "the right: the most accurate run.",
        f"## CPU seconds of the others over those of `{OURS}`",
        [["problem", *peers], *summary],
        *sections,
    )


if __name__ == "__main__":
    main()
