"""What a manifest means, beyond its form: figures that are there, finite, in range and in order.

A NaN threshold is valid JSON and approves everything; thresholds in the wrong order decline what should be reviewed.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.baseline import HOURS, Baseline, watched_names
from ml_project.contract import Contract
from ml_project.contract_parts import MAX_MAGNITUDE, OUTPUTS
from ml_project.operators import Scale, Shares
from ml_project.policies import NEVER, Thresholds
from ml_project.statistics import FeatureStatistics, Histogram

if TYPE_CHECKING:
    from ml_project.bundle import GoldenRow, Manifest

MOST_GOLDEN_ROWS: Final = 1_000
"""Training writes 100 at most; all are scored before a version answers."""

_ROUNDING: Final = 1e-5
"""By so much may a blend of two float32 scores pass 1."""

_SUM_TOLERANCE: Final = 1e-3
"""By so much shares, which are rounded, may miss 1."""


def manifest_fault(manifest: "Manifest") -> str | None:
    """The first thing in a manifest that cannot be meant; None where there is none.

    An empty ``policies`` is a draft's, and golden rows may be missing: `ml_project.scorer` refuses to answer by either.
    """
    try:
        for name, thresholds in manifest.policies.items():
            _thresholds(name, thresholds)
        contract = manifest.contract
        _require(not contract.unlearnt, "the contract names no values of a category")
        _scales(contract, manifest.scales)
        _category_shares(contract, manifest.shares)
        weight = manifest.settings.get("blend_weight", 0.0)
        plain = isinstance(weight, int | float) and not isinstance(weight, bool)
        _require(plain and 0 <= weight <= 1, f"the blend_weight {str(weight)[:40]} is not between 0 and 1")
        _statistics(contract, manifest.statistics)
        _histogram("the scores", manifest.score_baseline)
        if manifest.baseline is not None:
            _baseline(contract, manifest.baseline)
        _golden_rows(contract, manifest.golden_rows)
    except ValueError as fault:
        return str(fault)
    return None


def _thresholds(name: str, thresholds: Thresholds) -> None:
    alert, decline = thresholds.alert, thresholds.decline
    _require(
        0 <= alert <= NEVER and 0 <= decline <= NEVER,
        f"the policy {name[:40]!r} has the thresholds {alert} (alert) and {decline} (decline), which are not between 0 "
        f"and 1, nor {NEVER:g} for never",
    )
    _require(
        alert <= decline, f"the policy {name[:40]!r} declines from {decline} on, below its alert threshold {alert}"
    )


def _scales(contract: Contract, scales: Mapping[str, Scale]) -> None:
    _require(scales.keys() == contract.scaled_features.keys(), "the scales do not match the features")
    for name, scale in scales.items():
        low, _high = contract.scored_fields[contract.scaled_features[name]].limits
        usual = low <= scale.mean <= MAX_MAGNITUDE and 0 < scale.std <= MAX_MAGNITUDE
        _require(usual, f"{name[:40]} has the mean {scale.mean} and the standard deviation {scale.std}")


def _category_shares(contract: Contract, shares: Mapping[str, Shares]) -> None:
    _require(shares.keys() == contract.counted_features.keys(), "the shares do not match the features")
    for name, values in shares.items():
        known = contract.scored_fields[contract.counted_features[name]].values
        _shares(name[:40], np.array([values], dtype=np.float64), len(known) + 1)


def _statistics(contract: Contract, statistics: FeatureStatistics) -> None:
    names = contract.feature_names
    columns = {name: getattr(statistics, name) for name in ("mean", "std", "median", "iqr", "minimum", "maximum")}
    for name, values in columns.items():
        _require(len(values) == len(names), f"the statistics hold {name} of {len(values)} features")
        _require(all(map(math.isfinite, values)), f"the statistics' {name} is not finite")
    _require(min(*statistics.std, *statistics.iqr) > 0, "the statistics' std or iqr is not above 0")
    ordered = all(low <= high for low, high in zip(statistics.minimum, statistics.maximum, strict=True))
    _require(ordered, "the statistics' minimum is above the maximum")
    _require(statistics.histograms.keys() == set(names), "the statistics' histograms do not match the features")
    for name, histogram in statistics.histograms.items():
        _histogram(name, histogram)


def _histogram(name: str, histogram: Histogram) -> None:
    _edges(name, histogram.edges)
    _shares(name, np.array([histogram.shares], dtype=np.float64), len(histogram.edges))


def _baseline(contract: Contract, baseline: Baseline) -> None:
    _require(len(baseline.rows) == (HOURS if contract.clock else 1), f"the baseline has {len(baseline.rows)} hours")
    counts = (*baseline.rows, baseline.decision_rows)
    _require(all(0 <= count < math.inf for count in counts), "the baseline's rows are not numbers of rows")
    ours = set(watched_names(contract))
    _require(
        baseline.edges.keys() == baseline.shares.keys() == ours, "the baseline's figures are not the expected ones"
    )
    for name, edges in baseline.edges.items():
        _edges(name, edges)
        hours = baseline.shares[name]
        _require(len(hours) == len(baseline.rows), f"the baseline of {name} has {len(hours)} hours")
        _require(len({len(hour) for hour in hours}) == 1, f"the shares of {name} differ in length")
        _shares(name, np.array(hours, dtype=np.float64), len(edges))
    absent = baseline.missing
    known = absent.keys() <= ours and all(0 <= share <= 1 for share in absent.values())
    _require(known, "the baseline's shares of missing values do not match its figures")
    for policy, shares in baseline.decisions.items():
        _shares(policy[:40], np.array([shares], dtype=np.float64), len(shares) - 1)


def _edges(name: str, edges: tuple[float, ...]) -> None:
    rising = all(a < b for a, b in pairwise(edges))
    _require(rising and all(map(math.isfinite, edges)), f"the edges of {name} do not rise")


def _shares(name: str, shares: NDArray[np.float64], edges: int) -> None:
    """Shares of shape (hours, edges + 1)."""
    _require(shares.shape[1] == edges + 1, f"there are {shares.shape[1]} shares of {name} between {edges} edges")
    whole = np.abs(shares.sum(axis=1) - 1) <= _SUM_TOLERANCE
    _require(bool(whole.all() and (shares >= -_SUM_TOLERANCE).all()), f"the shares of {name} do not add up to 1")


def _golden_rows(contract: Contract, rows: "tuple[GoldenRow, ...]") -> None:
    _require(len(rows) <= MOST_GOLDEN_ROWS, f"there are {len(rows)} golden rows, {MOST_GOLDEN_ROWS} at most are taken")
    shape = all(len(row.raw) == len(contract.raw_fields) and row.scores.keys() == set(OUTPUTS) for row in rows)
    _require(shape, "the golden rows' fields or scores do not match this software's")
    if rows:
        raw = np.array([row.values for row in rows])
        scores = np.array([[row.scores[name] for name in OUTPUTS] for row in rows])
        _require(not contract.unusable(raw).any(), "a golden row holds a value that cannot be scored")
        _require(bool((np.abs(scores - 0.5) <= 0.5 + _ROUNDING).all()), "a golden row has a score not between 0 and 1")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise ValueError(fault)
