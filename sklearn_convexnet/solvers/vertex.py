r"""Fewer neurons with the same predictions.

An optimal face holds networks of many sizes, and an interior point sits in its middle. Scaling the
blocks of a solution by factors :math:`\gamma_b \ge 0`,

.. math:: \min_{\gamma \ge 0} \sum_b \gamma_b \|\theta_b\| \quad \text{s.t.} \quad
    \sum_b \gamma_b \, \sigma_b D_b X \theta_b = \sum_b \sigma_b D_b X \theta_b ,

has a solution with at most n non-zero factors, a vertex of the linear program: same predictions, a
penalty that is no larger.
"""

import numpy as np
from scipy.optimize import linprog


def fewest_blocks(contributions, norms):
    """Factors of the blocks at a vertex.

    Parameters
    ----------
    contributions : ndarray of shape (n, B)
        Predictions of every block alone.
    norms : ndarray of shape (B,)

    Returns
    -------
    ndarray of shape (B,)
        Factors; ones where the linear program was not solved.
    """
    outputs = contributions.sum(axis=1)
    size = np.abs(contributions).max()
    result = linprog(
        norms / norms.max(),
        A_eq=contributions / size,
        b_eq=outputs / size,
        bounds=(0, None),
        method="highs-ds",
    )
    return result.x if result.status == 0 else np.ones(len(norms))
