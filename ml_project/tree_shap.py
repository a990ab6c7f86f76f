"""Exact Shapley values of a boosted forest's margin (path-dependent TreeSHAP), by NumPy alone.

Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, 2020, give the game: where a feature is unknown, a row goes both ways by the training weight's shares.
On one path from root to leaf with features 1..D, of which feature j is met (o_j = 1) or not (o_j = 0) by the row and by
a share z_j of the training weight, the game's value is the product of o_j over the known and z_j over the unknown
features, times the leaf. Its Shapley values follow from writing the weights of coalitions as Beta integrals:

    phi_i = leaf * (o_i - z_i) * integral from 0 to 1 of  prod over j != i of (t * o_j + (1 - t) * z_j)  dt

The integrand is a polynomial in t of degree D - 1, which Gauss-Legendre quadrature with D / 2 nodes integrates exactly.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.tree_paths import TreePaths

_LEAST: Final = 1e-300
"""Keeps a share of 0, a branch that no training row took, from dividing by it."""


class TreeShap:
    """Contributions of features to the margin of a booster. Immutable; safe to share between threads.

    Parameters
    ----------
    paths : TreePaths
    """

    def __init__(self, paths: TreePaths) -> None:
        self._paths = paths
        nodes, weights = np.polynomial.legendre.leggauss((len(paths.feature) + 1) // 2)
        self._nodes = list(zip(((1 + nodes) / 2).tolist(), (weights / 2).tolist(), strict=True))
        self._columns = paths.feature.ravel()
        self._expected = paths.base + float(paths.leaf @ paths.share.prod(axis=0))

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values of features (n, F), and last the expected margin: shape (n, F + 1); rows sum to the margin."""
        found = np.empty((len(features), self._paths.features + 1))
        for row, values in enumerate(features):
            found[row, :-1] = self._row(values)
        found[:, -1] = self._expected
        return found

    def _row(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        paths = self._paths
        seen = values[paths.feature]
        met = ((seen >= paths.low) & (seen < paths.high)).astype(np.float64)
        integral = np.zeros_like(paths.share)
        for node, weight in self._nodes:
            factors = met * node
            factors += (1 - node) * paths.share
            np.maximum(factors, _LEAST, out=factors)
            product = np.multiply.reduce(factors, axis=0) * weight
            integral += np.divide(product, factors, out=factors)
        integral *= met - paths.share
        integral *= paths.leaf
        return np.bincount(self._columns, integral.ravel(), paths.features).astype(np.float64, copy=False)
