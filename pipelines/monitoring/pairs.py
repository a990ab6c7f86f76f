"""Transactions that a challenger scored in the shadow, beside the champion's decisions on them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.monitoring.reading import DECISIONS, MOST_ROWS, UNLABELLED, Decided, answered


@dataclass(frozen=True)
class Pair:
    """The same transactions, row by row, as the champion decided and as a challenger would have."""

    champion: Decided
    challenger: Decided

    def take(self, chosen: Any) -> "Pair":
        """Some of them, by mask or places."""
        return Pair(self.champion.take(chosen), self.challenger.take(chosen))

    def joined(self, other: "Pair | None") -> "Pair":
        """Both as one, thinned where they are too many: alerts of either and labels all stay."""
        pair = self
        if other is not None:
            pairs = zip((other.champion, other.challenger), (self.champion, self.challenger), strict=True)
            pair = Pair(*(Decided.concatenate(list(parts)) for parts in pairs))
        if len(pair.champion) <= MOST_ROWS:
            return pair
        plain = ~pair.champion.alert & ~pair.challenger.alert & (pair.champion.label == UNLABELLED)
        dropped = plain & (np.cumsum(plain) % 2 == 0)
        weight = np.where(plain, pair.champion.weight * 2, pair.champion.weight)
        return Pair(replace(pair.champion, weight=weight), replace(pair.challenger, weight=weight)).take(~dropped)


class Pairs:
    """Collects what challengers were shown while the champion's decisions pass by.

    Parameters
    ----------
    shadow_of : callable
        ``DecisionStore.shadow_of``.
    """

    def __init__(self, shadow_of: Callable[[list[str]], Any]) -> None:
        self._shadow_of = shadow_of
        self._found: dict[tuple[str, str], Pair] = {}

    def passing(self, tables: Iterable[Any]) -> Iterator[Any]:
        """The same tables."""
        for table in tables:
            self._take(table.filter(answered(table)))
            yield table

    def against(self, champion: str) -> dict[str, Pair]:
        """By the challenger's version, on what this champion answered."""
        return {challenger: pair for (challenger, other), pair in sorted(self._found.items()) if other == champion}

    def _take(self, table: Any) -> None:
        ids = table["prediction_id"].to_pylist()
        shadow = self._shadow_of(ids)
        if not len(shadow):
            return
        places = {prediction_id: place for place, prediction_id in enumerate(ids)}
        shown = table.take([places[prediction_id] for prediction_id in shadow["prediction_id"].to_pylist()])
        both = np.array(list(zip(shadow["model_version"].to_pylist(), shown["model_version"].to_pylist(), strict=True)))
        for challenger, champion in sorted(set(map(tuple, both.tolist()))):
            chosen = (both == (challenger, champion)).all(axis=1)
            pair = _pair(Decided.of_table(shown.filter(chosen)), shadow.filter(chosen))
            self._found[challenger, champion] = pair.joined(self._found.get((challenger, champion)))


def _pair(champion: Decided, shadow: Any) -> Pair:
    return Pair(
        champion,
        replace(
            champion,
            hybrid=shadow["hybrid_score"].to_numpy(),
            probability=shadow["fraud_probability"].to_numpy(),
            decision=np.array([DECISIONS.index(name) for name in shadow["decision"].to_pylist()], dtype=np.int8),
        ),
    )
