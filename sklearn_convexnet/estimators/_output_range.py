"""The range that predictions of a regressor are limited to."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .._typing import OutputRange
from ._options import FitOptions


@dataclass(frozen=True, eq=False, kw_only=True)
class RegressionOptions(FitOptions):
    """The parameters of a regressor: its predictions have limits."""

    output_range: OutputRange = "training"

    def limits(self, outputs):
        if self.output_range is None:
            return super().limits(outputs)
        if isinstance(self.output_range, str):
            return np.stack([outputs.min(axis=0), outputs.max(axis=0)])
        return _limits_of_pair(self.output_range, outputs.shape[1])


def _limits_of_pair(pair, n_outputs):
    """The ends of a given range, for every output."""
    # nothing is less than NaN
    limits = np.full((2, n_outputs), np.nan)
    with suppress(TypeError, ValueError):
        limits[:] = [_end(end, n_outputs) for end in pair]
    if not (limits[0] < limits[1]).all():
        raise ValueError(
            "output_range must be 'training', None or a pair (low, high) of numbers or arrays of "
            f"shape ({n_outputs},) with low < high, got {pair!r}."
        )
    return limits


def _end(end, n_outputs):
    """One end of a range, for every output."""
    end = np.asarray(end)
    if end.dtype.kind not in "iuf" or end.shape not in ((), (n_outputs,)):
        raise ValueError(f"no end of a range: {end!r}")
    return np.broadcast_to(end, n_outputs)
