"""The picture of the README: `python doc/front_picture.py` writes it anew.

It is that of the gallery example, so that what is on the front door is explained inside.
"""

import runpy
from pathlib import Path

import gallery
import matplotlib
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def main():
    """Run the example and save its first figure."""
    matplotlib.use("Agg")
    gallery.reset(None, None)
    runpy.run_path(str(HERE.parent / "examples" / "plot_decision_boundaries.py"))
    path = HERE / "_static" / "front.png"
    # no date and no version of a library in the file: it changes only when the picture does
    plt.figure(1).savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
