"""Figures of entities instead of transactions: a reviewer who looks at an alert calls the customer, not the payment.

An entity's transactions of a day count as one: with the highest of their scores, and as a fraud where one of them is.

Source: Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook" (2022),
chapter 4, precision top-k metrics.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.metrics import Estimate
from ml_project.operators import SECONDS_PER_DAY

CARD_PRECISION: Final = "card_precision"
CARD_AVERAGE_PRECISION: Final = "card_average_precision"


@dataclass(frozen=True)
class EntityDays:
    """Each entity on each day that it has transactions, by day and then by falling score.

    Attributes
    ----------
    entity : ndarray of shape (m,), int64
        The entity's number, from 0 on.
    score : ndarray of shape (m,)
        Highest score of its transactions of the day.
    fraud : ndarray of shape (m,), bool
        Whether one of them is a fraud.
    begins : ndarray of shape (days + 1,)
        Where each day begins, and the end.
    """

    entity: NDArray[np.int64]
    score: NDArray[np.float64]
    fraud: NDArray[np.bool_]
    begins: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        moment: NDArray[np.float64],
        entity: NDArray[np.int64],
        score: NDArray[np.floating],
        label: NDArray[np.int8],
    ) -> "EntityDays":
        """Of transactions (n,): seconds since a midnight, entity (-1 where there is none), score, 1 for fraud."""
        known = np.flatnonzero(entity >= 0)
        _names, number = np.unique(entity[known], return_inverse=True)
        day = np.floor(moment[known] / SECONDS_PER_DAY).astype(np.int64)
        day -= day.min(initial=0)
        order = np.lexsort((-score[known], number, day))
        group = (day * (len(_names) + 1) + number)[order]
        first = np.flatnonzero(np.append(True, np.diff(group) != 0)[: len(group)])
        highest = known[order[first]]
        fraud = np.logical_or.reduceat(label[known[order]] == 1, first) if len(first) else np.zeros(0, dtype=np.bool_)
        whose, when = number[order[first]].astype(np.int64), day[order[first]]
        top = np.asarray(score[highest], dtype=np.float64)
        sorted_days = np.lexsort((-top, when))
        edges = np.flatnonzero(np.append(True, np.diff(when[sorted_days]) != 0)[: len(when)])
        return cls(whose[sorted_days], top[sorted_days], fraud[sorted_days], np.append(edges, len(when)))

    @property
    def entities(self) -> int:
        """Different entities."""
        return int(self.entity.max(initial=-1)) + 1

    def card_precision(self, k: int, drawn: NDArray[np.int64] | None = None) -> float:
        """Share of frauds among the k entities with the highest scores of a day, as a mean over the days.

        Found ones are blocked: they take no place on the days after.

        Parameters
        ----------
        drawn : ndarray of shape (entities,), optional
            How often each entity counts (bootstrap); by default once.
        """
        left = np.ones(self.entities, dtype=np.int64) if drawn is None else drawn.copy()
        shares = []
        for begin, end in zip(self.begins[:-1], self.begins[1:], strict=True):
            entity, fraud = self.entity[begin:end], self.fraud[begin:end]
            count = left[entity]
            taken = np.clip(k - (np.cumsum(count) - count), 0, count)
            shares.append(int(taken[fraud].sum()) / k)
            left[entity[fraud]] -= taken[fraud]
        return float(np.mean(shares)) if shares else 0.0

    def average_precision(self, drawn: NDArray[np.int64] | None = None) -> float:
        """Average precision where an entity of a day is one item; see `metrics.average_precision`."""
        if not self.entities:
            return 0.0
        count = np.ones(len(self.entity), dtype=np.int64) if drawn is None else drawn[self.entity]
        order = np.argsort(-self.score, kind="stable")
        ranked, weight, fraud = self.score[order], count[order], self.fraud[order]
        ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
        caught, alerts = np.cumsum(weight * fraud)[ends], np.cumsum(weight)[ends]
        gained = np.diff(caught, prepend=0) * caught / np.maximum(alerts, 1)
        return float(np.sum(gained) / max(caught[-1], 1))


def entity_figures(days: EntityDays, k: int, replicates: int = 500, seed: int = 0) -> dict[str, Estimate]:
    """Card precision at k and average precision per entity, with 95 % intervals by a bootstrap of entities.

    Entities are drawn whole, with all their days: the transactions of one are not independent of one another.
    """
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(replicates if days.entities else 0):
        drawn = np.bincount(rng.integers(0, days.entities, days.entities), minlength=days.entities).astype(np.int64)
        draws.append((days.card_precision(k, drawn), days.average_precision(drawn)))
    low, high = np.quantile(np.array(draws), [0.025, 0.975], axis=0) if draws else np.zeros((2, 2))
    points = days.card_precision(k), days.average_precision()
    return {
        name: Estimate(point, float(low[place]), float(high[place]))
        for place, (name, point) in enumerate(zip((CARD_PRECISION, CARD_AVERAGE_PRECISION), points, strict=True))
    }
