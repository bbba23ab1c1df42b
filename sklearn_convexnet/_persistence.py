"""Pickles that say which version of the package they are of."""

import warnings

from ._version import __version__


class VersionedPickle:
    """What an estimator needs before `BaseEstimator` among its bases."""

    def __getstate__(self):
        return {**super().__getstate__(), "_pickled_by": __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_pickled_by", "unknown")
        if version != __version__:
            warnings.warn(
                f"{type(self).__name__} was pickled by sklearn_convexnet {version} and is read by "
                f"{__version__}: it may not work as it did; fit it again.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)
