"""The gallery: which example comes first, and one look for all plots."""

import matplotlib.pyplot as plt

# an example that is not in the list comes last
ORDER = [
    "plot_quickstart",
    "plot_own_table",
    "plot_patterns",
    "plot_adapting",
    "plot_decision_boundaries",
    "plot_model_selection",
    "plot_path",
    "plot_class_weight",
    "plot_multiclass",
    "plot_quantiles",
    "plot_neurons",
    "plot_robust",
    "plot_signed_autoencoder",
    "plot_convergence",
    "plot_certificates",
    "plot_xor_grokking",
    "plot_progress",
    "plot_export",
]

# colours of Okabe and Ito, which the colour-blind tell apart
STYLE = {
    "figure.dpi": 150,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.prop_cycle": plt.cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "0.5"]),
    "image.cmap": "viridis",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def order(name):
    """Key by which the examples are sorted."""
    stem = name.removesuffix(".py")
    return [*ORDER, stem].index(stem)


def reset(gallery_conf, name):
    """Start every example with the same look."""
    plt.rcParams.update(STYLE)
