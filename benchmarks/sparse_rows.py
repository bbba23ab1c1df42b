"""Time and memory of default fits on sparse rows with as many columns as a text has words."""

import argparse

import numpy as np
from common import Usage, fresh, report
from scipy import sparse

# words that a document is drawn with; some are drawn twice
WORDS = 0.0095


def documents(n, d, noise, seed=0):
    """Rows of unit norm like tf-idf, and labels of which a share `noise` is wrong.

    Words have frequencies of Zipf's law, changed at random by each of four topics, two for each
    class.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    rng = np.random.RandomState(seed)
    topics = rng.randint(4, size=n)
    odds = np.exp(rng.standard_normal((4, d))) / np.arange(1, d + 1)
    odds /= odds.sum(axis=1, keepdims=True)
    length = int(WORDS * d)
    words = np.stack([rng.choice(d, size=length, p=odds[topic]) for topic in topics])
    counts = sparse.csr_matrix(
        (np.ones(words.size), (np.repeat(np.arange(n), length), words.ravel())), shape=(n, d)
    )
    wrong = rng.random_sample(n) < noise
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts), (topics >= 2) ^ wrong


def measure(*, n, d, noise):
    """A default fit on n documents of d words, and its accuracy on as many others."""
    from sklearn_convexnet import ConvexReLUClassifier

    X, y = documents(2 * n, d, noise)
    X_test, y_test, X, y = X[n:], y[n:], X[:n], y[:n]
    with Usage() as usage:
        model = ConvexReLUClassifier(random_state=0).fit(X, y)
    return {
        "share": X.nnz / (n * d),
        "sparse": (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 1e6,
        "cpu": usage.cpu,
        "memory": usage.memory,
        "gap": model.dual_gap_,
        "neurons": model.n_neurons_,
        "accuracy": model.score(X_test, y_test),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", nargs="*", default=["1250x5000", "2500x10000", "5000x20000"], metavar="NxD"
    )
    parser.add_argument("--noise", type=float, default=0.05, help="share of wrong labels")
    parser.add_argument("--limit", type=float, default=600, help="CPU seconds per run")
    args = parser.parse_args()

    header = ["n x d", "non-zero", "X, MB", "X dense, MB", "CPU s", "peak memory of the fit, MB"]
    rows = [[*header, "gap", "neurons", "accuracy"]]
    for text in args.sizes:
        n, d = map(int, text.split("x"))
        run = fresh(measure, limit=args.limit, n=n, d=d, noise=args.noise)
        if "failure" in run:
            rows.append([text, *["-"] * 3, run["failure"], *["-"] * 4])
            continue
        memory = "-" if run["memory"] is None else f"{run['memory']:.0f}"
        cells = [f"{run['share']:.2%}", f"{run['sparse']:.0f}", f"{8e-6 * n * d:.0f}"]
        cells += [f"{run['cpu']:.0f}", memory, f"{run['gap']:.1e}", run["neurons"]]
        rows.append([text, *cells, f"{run['accuracy']:.3f}"])
    report(
        "sparse_rows",
        "Sparse rows",
        "`ConvexReLUClassifier(random_state=0)`, the defaults, on synthetic documents with "
        f"{args.noise:.0%} wrong labels; accuracy on as many others.",
        rows,
    )


if __name__ == "__main__":
    main()
