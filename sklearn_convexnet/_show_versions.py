"""What a bug report needs to say about the environment."""

from importlib.metadata import PackageNotFoundError, version

import sklearn

from ._version import __version__

_EXTRAS = ("matplotlib", "rich", "onnx", "onnxruntime", "skl2onnx", "dask", "distributed")


def show_versions() -> None:
    """Print the versions of this package, its extras, and of all that scikit-learn reports.

    Examples
    --------
    >>> from sklearn_convexnet import show_versions
    >>> show_versions()
    <BLANKLINE>
    sklearn_convexnet: ...
    """
    print(f"\nsklearn_convexnet: {__version__}")
    for name in _EXTRAS:
        try:
            print(f"{name:>17}: {version(name)}")
        except PackageNotFoundError:
            print(f"{name:>17}: None")
    sklearn.show_versions()
