"""The gallery: its sections, the order of the examples in them, and one look for all plots."""

import matplotlib.pyplot as plt

# title, what it is about, examples; an example that is in no section comes last of all pages
SECTIONS = [
    (
        "First steps",
        "Fit, compare, store.",
        ["plot_quickstart", "plot_own_table", "plot_export"],
    ),
    (
        "Tasks",
        "Many classes, rare classes, ranges instead of values, monotone and perturbed features.",
        [
            "plot_multiclass",
            "plot_class_weight",
            "plot_quantiles",
            "plot_monotone",
            "plot_robust",
        ],
    ),
    (
        "The penalty",
        "How strong it should be, and what it does.",
        ["plot_model_selection", "plot_path"],
    ),
    (
        "Looking inside",
        "Where neurons switch, what they add, and how training comes to its end.",
        ["plot_patterns", "plot_adapting", "plot_neurons", "plot_convergence", "plot_progress"],
    ),
    (
        "Proofs and research",
        "What is proved of networks, and what gradient descent and autoencoders make of them.",
        [
            "plot_decision_boundaries",
            "plot_certificates",
            "plot_xor_grokking",
            "plot_signed_autoencoder",
        ],
    ),
]
INTRODUCTION = (
    "Every page is a script that runs in less than half a minute and ends in a picture. Scripts "
    "and notebooks can be downloaded at the bottom of the pages."
)
ORDER = [name for _, _, names in SECTIONS for name in names]

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


def write(path):
    """Write the page of the gallery, in sections."""
    head = ["Gallery", "=======", "", INTRODUCTION, ""]
    toc = [".. toctree::", "   :hidden:", "", *(f"   /auto_examples/{name}" for name in ORDER), ""]
    lines = head + toc
    for title, about, names in SECTIONS:
        lines += [title, "-" * len(title), "", about, "", ".. minigallery::", ""]
        lines += [*(f"   ../examples/{name}.py" for name in names), ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def reset(gallery_conf, name):
    """Start every example with the same look."""
    plt.rcParams.update(STYLE)
