"""The public names of the package, by section: the table behind the API reference.

A name is written relative to the package, with its module where it is not a name of the package
itself ("robustness.name" is one of `sklearn_convexnet.robustness`). A new row here is a new
page; `tests/test_documentation.py` compares the table with what the package exports.
"""

PACKAGE = "sklearn_convexnet"

# title, what the section is about, names
API = [
    (
        "Estimators",
        "Fit, predict and certify, in scikit-learn's conventions; `score`, `get_params`, "
        "`set_params` and the metadata routing are scikit-learn's own. Then those that choose the "
        "penalty by cross-validation, that keep their decisions when features are perturbed, and "
        "that train the same networks by the usual means; and two transformers that write a sample "
        "as a sparse sum of directions.",
        [
            "ConvexReLUClassifier",
            "ConvexReLURegressor",
            "ConvexReLUClassifierCV",
            "ConvexReLURegressorCV",
            "RobustConvexReLUClassifier",
            "GradientDescentReLUClassifier",
            "GatedSparseAutoencoder",
            "SignAwareGatedSparseAutoencoder",
        ],
    ),
    (
        "Networks and certificates",
        "What a fit returns: `network_` and `certificate_`.",
        ["TwoLayerReLU", "Certificate"],
    ),
    (
        "The penalty",
        "The networks of a decreasing sequence of penalties, and the largest useful one.",
        ["convex_relu_path", "RegularizationPath", "alpha_max"],
    ),
    (
        "Losses",
        "Pass one as `loss` where a name does not say enough: `Quantile(0.9)`.",
        [
            "Loss",
            "SquaredError",
            "AbsoluteError",
            "Huber",
            "Quantile",
            "LogLoss",
            "Hinge",
            "SquaredHinge",
        ],
    ),
    (
        "Robustness of fitted networks",
        "What perturbations can do to a network: proved bounds, and attacks. The network may be "
        "one of scikit-learn's perceptrons.",
        [
            "robustness.certify",
            "robustness.MarginBounds",
            "robustness.OutputBounds",
            "robustness.certify_monotonic",
            "robustness.MonotonicityBounds",
            "robustness.certified_accuracy",
            "robustness.certified_radius",
            "robustness.robust_accuracy",
            "robustness.fgsm",
            "robustness.pgd",
        ],
    ),
    (
        "Metrics of sparse autoencoders",
        "What to judge codes and reconstructions by.",
        [
            "autoencoder.l0",
            "autoencoder.r2",
            "autoencoder.dead_fraction",
            "autoencoder.bipolar_fraction",
            "autoencoder.relative_reconstruction_bias",
            "autoencoder.recovered_fraction",
        ],
    ),
    (
        "Plots",
        "Displays, in the conventions of scikit-learn; they need matplotlib.",
        [
            "plotting.ConvergenceDisplay",
            "plotting.RegularizationPathDisplay",
            "plotting.PatternDisplay",
            "plotting.NeuronDisplay",
            "plotting.RobustnessDisplay",
        ],
    ),
    (
        "Export",
        "Fitted networks for use elsewhere; ONNX needs the extra `onnx`.",
        ["export.to_mlp", "export.to_onnx", "export.register_converters", "export.to_dict"],
    ),
    (
        "Data",
        "Synthetic data on which a claim can be tested.",
        ["datasets.make_antipodal_features", "datasets.make_xor_clusters"],
    ),
    (
        "Convex programs and solvers",
        "The level below the estimators: build a program over given activation patterns, and "
        "compare solvers on it; then the programs of training against perturbations.",
        [
            "PatternProgram",
            "solve",
            "Result",
            "Perturbation",
            "RobustProgram",
            "solve_robust_cone",
            "solve_robust_scp",
            "RobustResult",
        ],
    ),
    (
        "Environment",
        "What a bug report needs to say.",
        ["show_versions"],
    ),
]


def write(path):
    """Write the page with all sections; autosummary makes the page of every name."""
    parts = ["API reference\n=============\n", f".. currentmodule:: {PACKAGE}\n"]
    for title, text, names in API:
        rows = "\n".join(f"   {name}" for name in names)
        parts += [
            f"{title}\n{'-' * len(title)}\n",
            f"{text}\n",
            f".. autosummary::\n   :toctree:\n   :nosignatures:\n\n{rows}\n",
        ]
    path.write_text("\n".join(parts), encoding="utf-8")
