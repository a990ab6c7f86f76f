"""Exact Shapley values of a boosted forest's margin (path-dependent TreeSHAP), by NumPy alone.

XGBoost would compute them too, but brings SciPy and 160 MB into every gateway. `read_paths` reads the JSON that it
saves a booster as: all trees as paths from root to leaf.

Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, 2020, give the game: where a feature is unknown, a row goes both ways by the training weight's shares.
On one path from root to leaf with features 1..D, of which feature j is met (o_j = 1) or not (o_j = 0) by the row and by
a share z_j of the training weight, the game's value is the product of o_j over the known and z_j over the unknown
features, times the leaf. Its Shapley values follow from writing the weights of coalitions as Beta integrals:

    phi_i = leaf * (o_i - z_i) * integral from 0 to 1 of  prod over j != i of (t * o_j + (1 - t) * z_j)  dt

The integrand is a polynomial in t of degree D - 1, which Gauss-Legendre quadrature with D / 2 nodes integrates exactly.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.errors import InvalidBundle

_OBJECTIVE: Final = "binary:logistic"
_ANYTHING: Final = (-math.inf, math.inf, 1.0, True)

_Interval = tuple[float, float, float, bool]
"""What a path asks of a feature, low <= value < high; the share of training weight that meets it; whether a missing
value does."""


@dataclass(frozen=True, slots=True)
class TreePaths:
    """Paths of all trees, L of them with up to D different features each.

    A shorter path is filled up with feature 0 in any range, which changes nothing.

    Attributes
    ----------
    feature : ndarray of shape (D, L)
        Column of the features.
    low, high : ndarray of shape (D, L), float32
        The path is taken by low <= value < high.
    missing : ndarray of shape (D, L), bool
        Whether it is taken where the feature is missing.
    share : ndarray of shape (D, L)
        Product of the cover ratios of the feature's splits on the path.
    leaf : ndarray of shape (L,)
        What a row that arrives adds to the margin.
    base : float
        Margin before any tree.
    features : int
        Number of columns that the booster takes.
    """

    feature: NDArray[np.intp]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    missing: NDArray[np.bool_]
    share: NDArray[np.float64]
    leaf: NDArray[np.float64]
    base: float
    features: int


def read_paths(booster: bytes) -> TreePaths:
    """Read what ``xgboost.Booster.save_raw("json")`` wrote for a binary classifier on numbers.

    Raises
    ------
    InvalidBundle
        For anything else.
    """
    try:
        learner = json.loads(booster)["learner"]
        if learner["objective"]["name"] != _OBJECTIVE:
            raise ValueError(f"its objective is {learner['objective']['name']}, not {_OBJECTIVE}")
        parameters = learner["learner_model_param"]
        score = float(parameters["base_score"].strip("[]"))
        paths = [path for tree in learner["gradient_booster"]["model"]["trees"] for path in _paths(tree)]
        return _arrays(paths, math.log(score / (1 - score)), int(parameters["num_feature"]))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InvalidBundle(f"The bundle's booster cannot be read: {error}.", "Publish it again.") from error


def _paths(tree: Mapping[str, Any]) -> Iterator[tuple[float, dict[int, _Interval]]]:
    names = ("left_children", "right_children", "split_indices", "default_left")
    left, right, feature, default_left = (_integers(tree[name]) for name in names)
    split, cover = _float32(tree["split_conditions"]), _float32(tree["sum_hessian"])
    if len({len(left), len(right), len(feature), len(split), len(cover), len(default_left)}) != 1:
        raise ValueError("a tree's columns have different lengths")
    waiting: list[tuple[int, dict[int, _Interval]]] = [(0, {})]
    seen = 0
    while waiting:
        node, path = waiting.pop()
        seen += 1
        if seen > len(left):
            raise ValueError("a tree is malformed")
        if left[node] == -1:
            yield split[node], path
            continue
        threshold = split[node]
        low, high, share, missing = path.get(feature[node], _ANYTHING)
        below, above = cover[left[node]] / cover[node], cover[right[node]] / cover[node]
        leftwards = bool(default_left[node])
        asked = (low, min(high, threshold), share * below, missing and leftwards)
        waiting.append((left[node], path | {feature[node]: asked}))
        asked = (max(low, threshold), high, share * above, missing and not leftwards)
        waiting.append((right[node], path | {feature[node]: asked}))


def _integers(values: list[Any]) -> list[int]:
    column = np.asarray(values)
    if column.dtype.kind != "i" or column.ndim != 1:
        raise ValueError("a tree's column holds values that are not integers")
    numbers: list[int] = column.tolist()
    return numbers


def _float32(values: list[Any]) -> list[float]:
    """XGBoost writes as many digits as a float32 needs: only as float32 are they what it computes with."""
    column = np.asarray(values)
    if column.dtype.kind not in "if" or column.ndim != 1:
        raise ValueError("a tree's column holds values that are not numbers")
    with np.errstate(over="ignore"):
        column = column.astype(np.float32)
    if not np.isfinite(column).all():
        raise ValueError("a tree's column holds a value that is not finite")
    numbers: list[float] = column.tolist()
    return numbers


def _arrays(paths: list[tuple[float, dict[int, _Interval]]], base: float, features: int) -> TreePaths:
    depth = max((len(path) for _leaf, path in paths), default=0) or 1
    feature = np.zeros((depth, len(paths)), dtype=np.intp)
    limits = np.empty((4, depth, len(paths)))
    limits[:] = np.reshape(_ANYTHING, (4, 1, 1))
    for column, (_leaf, path) in enumerate(paths):
        for row, (name, interval) in enumerate(path.items()):
            feature[row, column] = name
            limits[:, row, column] = interval
    if feature.min(initial=0) < 0 or feature.max(initial=0) >= features:
        raise ValueError("a tree refers to a feature that does not exist")
    low, high = limits[:2].astype(np.float32)
    leaf = np.array([value for value, _path in paths], dtype=np.float64)
    share, missing = np.ascontiguousarray(limits[2]), limits[3].astype(np.bool_)
    return TreePaths(feature, low, high, missing, share, leaf, base, features)


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
        taken = (seen >= paths.low) & (seen < paths.high)
        if np.isnan(values).any():
            taken |= np.isnan(seen) & paths.missing
        met = taken.astype(np.float64)
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
