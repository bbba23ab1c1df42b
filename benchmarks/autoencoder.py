"""Sparse autoencoders: reconstruction against sparsity, sign-aware at half the width and gated.

Two kinds of data: synthetic features in antipodal pairs, and activations of a language model on
docstrings, which need three more packages (README.md). The speed is compared with that of the
same model in PyTorch; without it these rows say so.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path

import minilm
import numpy as np
from common import fresh, report

SIGNED, HALF, FULL = "sign-aware, H", "gated, H", "gated, 2H"
FRONTIER = (SIGNED, HALF, FULL)
ABLATIONS = {
    "no auxiliary term": {"auxiliary": False},
    "untied sides": {"tied": False},
    "dead latents left alone": {"dead_latents": None},
    "sign-aware, 2H": {"width": 2},
    "gated, 2H, dead latents left alone": {"dead_latents": None},
    "gated, 2H, thresholds reset": {"dead_latents": "reset"},
}
# H, options of the fit, penalties of the frontier, penalty of the ablations and which of them
DATA = {
    "antipodal": (64, {"max_iter": 3000}, (0.2, 0.3, 0.5), 0.3, list(ABLATIONS)),
    "minilm": (
        192,
        {"max_iter": 800, "batch_size": 128},
        (0.1, 0.2, 0.4),
        0.2,
        list(ABLATIONS)[:1],
    ),
}
TOKENS, HOOK, LAYER = 24_000, "mlp", 3
# where latents die: many of them, and a large penalty
DYING = "dying"
DYING_LATENTS, DYING_ALPHAS, DYING_SEEDS = 768, (1.2,), 2
DYING_OPTIONS = {"max_iter": 1000, "batch_size": 64}

TITLES = {
    "antipodal": "Antipodal pairs",
    "minilm": "Activations of all-MiniLM-L6-v2",
    DYING: "Dead latents",
}
TEXTS = {
    "antipodal": "64 pairs of opposite directions in 64 dimensions, 3 active in a sample on "
    "average; 30000 samples to train on, 6000 for the figures. H = 64. recovered: share of the "
    "128 directions that have a latent of their own at a cosine of at least 0.9.",
    "minilm": f"Output of the perceptron in layer {LAYER} of 6, {TOKENS} tokens of docstrings of "
    "the standard library; the last quarter, other sentences, for the figures. H = 192.",
    DYING: f"The same activations, H = {DYING_LATENTS}, where latents die: many of them, and a "
    "large penalty. dead: share of latents that fire on none of the 6000 rows of the figures. L0, "
    "R² and dead are those of every seed. Dead latents are left alone, or dealt with as by "
    "default: thresholds are reset (sign-aware), latents are resampled (gated).",
}


def make_data(*, name, path):
    """Write training rows, test rows and true directions (none of real data) in float32."""
    if name == "minilm":
        X = minilm.activations(TOKENS, layer=LAYER, hook=HOOK)
        rows, directions = len(X) * 3 // 4, np.empty((0, X.shape[1]))
    else:
        from sklearn_convexnet.datasets import make_antipodal_features

        X, _, directions = make_antipodal_features(36_000, 64, n_pairs=64, random_state=0)
        rows = 30_000
    X = X.astype(np.float32)
    np.savez(path, X=X[:rows], X_test=X[rows:], directions=directions)


def measure(*, path, signed, options, alphas, seeds):
    """Judge fits on the test rows: a list of one result per seed, for each penalty."""
    from sklearn_convexnet import GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder

    make = SignAwareGatedSparseAutoencoder if signed else GatedSparseAutoencoder
    data = dict(np.load(path))
    return [
        [judge(make(alpha=alpha, random_state=seed, **options), **data) for seed in range(seeds)]
        for alpha in alphas
    ]


def judge(model, X, X_test, directions):
    from sklearn_convexnet import autoencoder as metrics

    start = time.process_time()
    model.fit(X)
    cpu = time.process_time() - start
    codes = model.transform(X_test)
    rebuilt = model.inverse_transform(codes)
    center = X_test.mean(axis=0)
    found = {
        "r2": metrics.r2(X_test, rebuilt),
        "l0": metrics.l0(codes),
        "dead": metrics.dead_fraction(codes),
        "bipolar": metrics.bipolar_fraction(codes),
        "bias": metrics.relative_reconstruction_bias(X_test - center, rebuilt - center),
        "cpu": cpu,
    }
    if len(directions):
        signed = bool((codes < 0).any())
        found["recovered"] = metrics.recovered_fraction(
            model.components_, directions, signed=signed
        )
    return found


# ---------------------------------------------------------------------------------- speed


def seconds_of_a_step(*, library, n_features, n_latents, batch_size, n_steps=60):
    """CPU seconds of a step of the sign-aware model, the least of five stretches."""
    rng = np.random.RandomState(0)
    batch = rng.standard_normal((batch_size, n_features)).astype(np.float32)
    batch /= np.sqrt(n_features)
    steps = {"ours": numpy_steps, "PyTorch": torch_steps}[library](batch, n_latents)
    steps(10)
    times = []
    for _ in range(5):
        start = time.process_time()
        steps(n_steps)
        times.append((time.process_time() - start) / n_steps)
    return min(times)


def numpy_steps(batch, n_latents):
    from sklearn_convexnet.autoencoder.model import Autoencoder
    from sklearn_convexnet.autoencoder.training import Settings, Trainer

    rng = np.random.RandomState(0)
    model = Autoencoder.start(
        n_latents, batch.shape[1], rng, threshold=0.05, two_sided=True, tied=True,
        dtype=batch.dtype,
    )  # fmt: skip
    settings = Settings(0.1, True, 3e-3, 100, 100, "reset", 200, 0.05)
    trainer = Trainer(model, rng)
    return lambda n: trainer.run((batch for _ in range(n)), settings)


def torch_steps(batch, n_latents):
    """The same model, loss and optimiser by automatic differentiation."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.tensor(batch)
    decoder = torch.nn.functional.normalize(torch.randn(n_latents, x.shape[1]), dim=1)
    parameters = [decoder.clone(), -0.05 * torch.ones(n_latents), torch.zeros(n_latents),
                  torch.zeros(n_latents), decoder, torch.zeros(x.shape[1])]  # fmt: skip
    for one in parameters:
        one.requires_grad_(True)
    encoder, gate_bias, log_gain, offset, decoder, decoder_bias = parameters
    adam = torch.optim.Adam(parameters, lr=3e-3, betas=(0.0, 0.999))

    def step():
        z = (x - decoder_bias) @ encoder.T
        sign, argument = torch.sign(z), torch.abs(z)
        passed = torch.relu(argument + gate_bias)
        magnitude = torch.relu(torch.exp(log_gain) * argument + offset)
        codes = sign * (passed > 0) * magnitude
        error = codes @ decoder + decoder_bias - x
        soft = (sign * passed) @ decoder.detach() + decoder_bias.detach() - x
        loss = (error.square().sum() + 0.1 * passed.sum() + soft.square().sum()) / len(x)
        adam.zero_grad()
        loss.backward()
        with torch.no_grad():
            along = (decoder.grad * decoder).sum(dim=1, keepdim=True)
            decoder.grad -= along * decoder
            adam.step()
            decoder.div_(decoder.norm(dim=1, keepdim=True))
            gate_bias.clamp_(max=0)

    return lambda n: [step() for _ in range(n)]


# ----------------------------------------------------------------------------------- main


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(TITLES), choices=TITLES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", help="file of results, to resume from and to add to")
    parser.add_argument("--limit", type=float, default=300, help="CPU seconds per run")
    args = parser.parse_args()
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        run = Cached(args.cache, folder)
        for name in args.data:
            try:
                parts += dying(args, run) if name == DYING else of_data(name, args, run)
            except RuntimeError as error:
                parts.append(f"## {TITLES[name]}\n\nNot measured: {error}")
    parts += ["## Speed", *speed(args)]
    report("autoencoder", "Sparse autoencoders", *parts)


class Cached:
    """Calls of `measure`, of which a file keeps the results; data are made when needed."""

    def __init__(self, file, folder):
        self.folder = Path(folder)
        self.file = None if file is None else Path(file)
        self.known = {}
        if self.file is not None and self.file.exists():
            lines = self.file.read_text(encoding="utf-8").splitlines()
            self.known = dict(json.loads(line) for line in lines)

    def __call__(self, name, limit, **arguments):
        key = json.dumps([name, arguments], sort_keys=True)
        if key not in self.known:
            path = self.folder / f"{name}.npz"
            if not path.exists():
                _check(fresh(make_data, name=name, path=str(path)))
            found = fresh(measure, path=str(path), limit=limit, **arguments)
            self.known[key] = _check(found)
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, found]) + "\n")
        return self.known[key]


def _check(found):
    if isinstance(found, dict):
        raise RuntimeError(found["failure"])
    return found


def of_data(name, args, run):
    """Frontier, verdict and ablations on one kind of data."""
    n_latents, options, alphas, middle, ablations = DATA[name]

    def rows(label, alphas, *, width=None, **more):
        gated = label.startswith("gated")
        width = width or (2 if label.startswith(FULL) else 1)
        more = {"n_components": width * n_latents, **options, **more}
        found = run(name, args.limit, signed=not gated, options=more, alphas=alphas,
                    seeds=args.seeds)  # fmt: skip
        points = []
        for alpha, runs in zip(alphas, found, strict=True):
            means = {key: float(np.mean([one[key] for one in runs])) for key in runs[0]}
            points.append((label, alpha, means, np.ptp([one["r2"] for one in runs])))
            print(name, label, alpha, *_cells(*points[-1][2:]), flush=True)
        return points

    points = [point for method in FRONTIER for point in rows(method, alphas)]
    header = ["model", "alpha", "L0", "R²", "range of R²", "dead", "bipolar", "bias", "CPU s"]
    if name == "antipodal":
        header.append("recovered")
    changed = [point for point in points if point[1] == middle and point[0] != HALF]
    changed += [point for label in ablations for point in rows(label, [middle], **ABLATIONS[label])]
    changed.sort(key=lambda point: point[0].startswith(FULL))  # ours first
    tables = [
        [header, *([label, alpha, *_cells(*found)] for label, alpha, *found in some)]
        for some in (points, changed)
    ]
    return [
        f"## {TITLES[name]}", TEXTS[name] + f" {_options(options)}. Means over {args.seeds} seeds.",
        tables[0], verdict(points), "Ablations at one penalty:", tables[1],
    ]  # fmt: skip


def dying(args, run):
    """Shares of dead latents where they die, with and without a remedy."""
    table = [["model", "dead latents", "alpha", "L0", "R²", "dead", "mean", "bipolar", "CPU s"]]
    for remedy, more in (("left alone", {"dead_latents": None}), ("dealt with", {})):
        for label in FRONTIER:
            options = {"n_components": DYING_LATENTS * (2 if label == FULL else 1), **more}
            results = run("minilm", args.limit, signed=label == SIGNED, alphas=DYING_ALPHAS,
                          options=options | DYING_OPTIONS, seeds=DYING_SEEDS)  # fmt: skip
            for alpha, runs in zip(DYING_ALPHAS, results, strict=True):
                means = {key: float(np.mean([one[key] for one in runs])) for key in runs[0]}
                each = [", ".join(f"{one[key]:.3f}" for one in runs) for key in ("r2", "dead")]
                table.append([
                    label, remedy, alpha, ", ".join(f"{one['l0']:.1f}" for one in runs), *each,
                    f"{means['dead']:.3f}", f"{means['bipolar']:.3f}", f"{means['cpu']:.1f}",
                ])  # fmt: skip
                print(DYING, *table[-1], flush=True)
    text = f"{TEXTS[DYING]} {_options(DYING_OPTIONS)}, {DYING_SEEDS} seeds."
    return [f"## {TITLES[DYING]}", text, table]


def verdict(points):
    """R² of the half-width signed model minus that of the others, at equal L0."""
    curves, dead = {}, {}
    for method in FRONTIER:
        found = [means for label, _, means, _ in points if label == method]
        dead[method] = np.mean([one["dead"] for one in found])
        l0, r2 = np.array(sorted((one["l0"], one["r2"]) for one in found)).T
        curves[method] = np.log(l0), r2
    lines = []
    for other in (FULL, HALF):
        low = max(curves[one][0][0] for one in (SIGNED, other))
        high = min(curves[one][0][-1] for one in (SIGNED, other))
        if low >= high:
            lines.append(f"{SIGNED} against {other}: their ranges of L0 do not overlap.")
            continue
        grid = np.linspace(low, high, 21)
        gaps = np.interp(grid, *curves[SIGNED]) - np.interp(grid, *curves[other])
        lines.append(
            f"{SIGNED} minus {other}, R² at equal L0 from {np.exp(low):.1f} to {np.exp(high):.1f} "
            f"(mean frontiers, linear in log L0): from {gaps.min():+.3f} to {gaps.max():+.3f}, "
            f"mean {gaps.mean():+.3f}; at or above it on {np.mean(gaps >= 0):.0%} of that range."
        )
    lines.append("Mean dead fraction: " + ", ".join(f"{k} {v:.3f}" for k, v in dead.items()) + ".")
    return "\n".join(f"- {line}" for line in lines)


def speed(args):
    rows = [["features x latents, batch", "ours, ms", "PyTorch, ms", "ours / PyTorch"]]
    for size in ((64, 128, 256), (384, 768, 256)):
        times = {}
        for library in ("ours", "PyTorch"):
            if library == "PyTorch" and importlib.util.find_spec("torch") is None:
                continue
            call = dict(zip(("n_features", "n_latents", "batch_size"), size, strict=True))
            found = fresh(seconds_of_a_step, library=library, limit=args.limit, **call)
            if isinstance(found, float):
                times[library] = 1e3 * found
        cells = [f"{times[one]:.2f}" if one in times else "-" for one in ("ours", "PyTorch")]
        ratio = f"{times['ours'] / times['PyTorch']:.2f}" if len(times) == 2 else "-"
        rows.append([f"{size[0]} x {size[1]}, {size[2]}", *cells, ratio])
    return [
        "CPU time of a training step of the sign-aware model in float32 on one thread, the least "
        "of five stretches of 60 steps, and of the same model by automatic differentiation.",
        rows,
    ]  # fmt: skip


def _cells(found, spread):
    cells = [f"{found['l0']:.1f}", f"{found['r2']:.3f}", f"{spread:.3f}"]
    cells += [f"{found[key]:.3f}" for key in ("dead", "bipolar", "bias")]
    cells.append(f"{found['cpu']:.1f}")
    return [*cells, f"{found['recovered']:.3f}"] if "recovered" in found else cells


def _options(options):
    return ", ".join(f"`{key}={value}`" for key, value in options.items())


if __name__ == "__main__":
    main()
