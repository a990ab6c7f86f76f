"""What a model's figures looked like on its training rows, hour by hour: what `drift` compares live traffic with.

By the hour, because a day has a rhythm: on the public data set's structure some components of noon and of four in the
morning differ by a PSI above 2, so that a window of six hours, or a busy evening, would look like drift.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.contract_parts import OTHER
from ml_project.operators import present
from ml_project.policies import DECISIONS, Decision, Thresholds, decide_all
from ml_project.statistics import weighted_quantile

HOURS: Final = 24
BINS: Final = 10
"""Deciles, as is usual for PSI: fewer figures to keep, and less noise in small windows, than finer ones have."""

SCORE: Final = "hybrid_score"

_DIGITS: Final = 6


@dataclass(frozen=True)
class Baseline:
    """Shares of the training rows per bin and hour of day, and of the decisions on rows that the model had not seen.

    Attributes
    ----------
    rows : tuple of float
        Effective training rows of each hour (Kish: squared sum of weights over sum of squares); of all hours together
        where there is one entry only.
    edges : dict
        Of each of `watched_names`, the inner edges of its bins; the outermost bins are open.
    shares : dict
        Of each of `watched_names`, a tuple per hour with a share per bin.
    decisions : dict
        Of each threshold policy, the shares of APPROVE, REVIEW and DECLINE.
    decision_rows : float
        Effective rows behind them.
    missing : dict
        Share of the training rows without a value, of figures that have such rows.
    """

    rows: tuple[float, ...]
    edges: dict[str, tuple[float, ...]]
    shares: dict[str, tuple[tuple[float, ...], ...]]
    decisions: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    decision_rows: float = 0.0
    missing: dict[str, float] = field(default_factory=dict)

    @property
    def hourly(self) -> bool:
        """Whether windows of any hours can be compared; else whole days only."""
        return len(self.rows) > 1

    @classmethod
    def fit(
        cls,
        contract: Contract,
        raw: NDArray[np.float64],
        features: NDArray[np.float32],
        hybrid: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> "Baseline":
        """The baseline of rows (n, fields), their features (n, f) and the shipped model's own scores (n,) of them.

        Its own scores of rows that it has seen: nearly all are legitimate and score like new ones, while the forward
        scores behind the thresholds are those of other, younger models (PSI 0.05 against 0.001).
        """
        hours, count = hours_of(contract, features), HOURS if contract.clock else 1
        inner = [k / BINS for k in range(1, BINS)]
        edges, shares, missing = {}, {}, dict[str, float]()
        kinds = {each.name: each for each in watched_categories(contract)}
        for name, values in watched_columns(contract, raw, features, hybrid).items():
            if name in kinds:
                edges[name] = np.arange(0.5, kinds[name].bins - 1)
            else:
                edges[name] = np.unique(weighted_quantile(*present(values, weight), inner))
            there = ~np.isnan(values)
            if not there.all():
                missing[name] = float(weight[~there].sum() / weight.sum())
            shares[name] = _hourly_shares(values[there], edges[name], hours[there], weight[there], count)
        return cls(
            rows=tuple(round(effective_rows(weight[hours == hour]), 1) for hour in range(count)),
            edges={name: tuple(inner_edges.tolist()) for name, inner_edges in edges.items()},
            shares=shares,
            missing=missing,
        )


@dataclass(frozen=True)
class WatchedCategory:
    """A category of which features are made: its values are one figure of drift, whatever the features are.

    Its bins are its values in order, then what is none of them, then, if it may be missing, what is missing.

    Attributes
    ----------
    name : str
        Of the field; longer where a feature that is no category is called that.
    place : int
        Among the raw fields.
    values : int
        How many are known.
    optional : bool
        Whether it may be missing.
    beside : frozenset of str
        The features that say nothing more.
    """

    name: str
    place: int
    values: int
    optional: bool
    beside: frozenset[str]

    @property
    def bins(self) -> int:
        """How many there are."""
        return self.values + 1 + self.optional

    @property
    def other(self) -> int:
        """The bin of what is none of its values."""
        return self.values

    def codes(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bin (n,) of each row of raw transactions (n, fields)."""
        codes = raw[:, self.place]
        known = np.where(codes == OTHER, float(self.other), codes)
        return np.where(np.isnan(codes), float(self.bins - 1), known)


def watched_categories(contract: Contract) -> tuple[WatchedCategory, ...]:
    """The categories that the model sees anything of."""
    found = []
    for place, each in enumerate(contract.scored_fields):
        beside = frozenset(one.name for one in contract.features if one.of == (each.name,))
        if each.type == "category" and beside:
            name = each.name if each.name not in {*contract.feature_names} - beside else f"{each.name} (category)"
            found.append(WatchedCategory(name, place, len(each.values), not each.required, beside))
    return tuple(found)


def repeated_gaps(contract: Contract) -> frozenset[str]:
    """Features whose share of missing values is an earlier one's: they are made of the same fields that may be missing.

    What a feature of two such fields lacks is not what either of them lacks.
    """
    optional = {contract.raw_fields[place] for place in contract.optional}
    gaps: dict[str, frozenset[str]] = {}
    seen, found = set[frozenset[str]](), set[str]()
    for feature in contract.features:
        if feature.name not in contract.may_miss:
            continue
        made_of = (
            frozenset([each]) & optional if each in contract.raw_fields else gaps.get(each, frozenset())
            for each in feature.sources
        )
        gaps[feature.name] = mine = frozenset[str]().union(*made_of)
        if mine in seen:
            found.add(feature.name)
        seen.add(mine)
    return frozenset(found)


def watched_names(contract: Contract) -> tuple[str, ...]:
    """The figures of drift: every feature but the hour of day, which they are compared within, and the score.

    The features of a category are one figure, under the category's name.
    """
    categories = watched_categories(contract)
    covered = {contract.clock}.union(*(each.beside for each in categories))
    plain = (name for name in contract.feature_names if name not in covered)
    return (*plain, *(each.name for each in categories), SCORE)


def hours_of(contract: Contract, features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Hours of day, 0 to 23, of features (n, f); 0 for a contract without a clock."""
    if contract.clock is None:
        return np.zeros(len(features), dtype=np.int64)
    hours: NDArray[np.int64] = features[:, contract.feature_names.index(contract.clock)].astype(np.int64)
    return hours


def watched_columns(
    contract: Contract, raw: NDArray[np.float64], features: NDArray[np.float32], hybrid: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Values of each of `watched_names`, of rows (n, fields), their features (n, f) and scores (n,)."""
    columns = dict(zip(contract.feature_names, features.T, strict=True))
    kinds = {each.name: each for each in watched_categories(contract)}
    return {
        name: hybrid if name == SCORE else kinds[name].codes(raw) if name in kinds else _exact(columns[name])
        for name in watched_names(contract)
    }


def _exact(column: NDArray[np.float32]) -> NDArray[np.float64]:
    return column.astype(np.float64)


def effective_rows(weight: NDArray[np.float64]) -> float:
    """How many equally weighted rows know as much (Kish, "Survey Sampling", 1965)."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0


def decision_shares(
    hybrid: NDArray[np.float64], weight: NDArray[np.float64], thresholds: Thresholds
) -> tuple[float, float, float]:
    """Shares of APPROVE, REVIEW and DECLINE."""
    decisions, total = decide_all(hybrid, thresholds), weight.sum()
    alerts = float(weight[decisions > DECISIONS.index(Decision.APPROVE)].sum() / total)
    declined = float(weight[decisions == DECISIONS.index(Decision.DECLINE)].sum() / total)
    return 1 - alerts, alerts - declined, declined


def _hourly_shares(
    values: NDArray[np.float64],
    edges: NDArray[np.float64],
    hours: NDArray[np.int64],
    weight: NDArray[np.float64],
    count: int,
) -> tuple[tuple[float, ...], ...]:
    """Shares per hour and bin; an hour without a row gets those of the whole day."""
    bins = len(edges) + 1
    cells = hours * bins + np.searchsorted(edges, values, side="left")
    counts = np.bincount(cells, weights=weight, minlength=count * bins).reshape(count, bins)
    totals = counts.sum(axis=1, keepdims=True)
    whole = counts.sum(axis=0) / weight.sum() if len(values) else np.full(bins, 1 / bins)
    shares = np.where(totals > 0, counts / np.where(totals > 0, totals, 1), whole)
    return tuple(tuple(row) for row in np.round(shares, _DIGITS).tolist())
