"""Decisions that a challenger took in the shadow, beside the champion's on the same transactions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.reading import DECISIONS, MOST_ROWS, Decided, answered_rows, thinning

_NO_ALERT: Final = np.inf


@dataclass(frozen=True)
class Shadowed:
    """Rows that both have scored; ``challenger`` differs from ``champion`` in scores and decisions only."""

    champion: Decided
    challenger: Decided

    def __len__(self) -> int:
        return len(self.champion)

    def take(self, chosen: NDArray[np.bool_]) -> "Shadowed":
        """Some of the rows."""
        champion = self.champion.take(chosen)
        # one array of weights, as the thinning changes it
        return Shadowed(champion, replace(self.challenger.take(chosen), weight=champion.weight))


@dataclass
class ShadowReader:
    """Passes tables of decisions on, and keeps of each what challengers made of it.

    Parameters
    ----------
    look_up : callable
        ``DecisionStore.shadow_of``.

    Attributes
    ----------
    pairs : dict
        By champion's and challenger's version.
    """

    look_up: Callable[[Sequence[str]], Any]
    seed: int = 0
    pairs: dict[tuple[str, str], Shadowed] = field(default_factory=dict)

    def passing(self, tables: Iterable[Any]) -> Iterator[Any]:
        """The same tables."""
        rng = np.random.default_rng(self.seed)
        for table in tables:
            self._add(table.filter(answered_rows(table)), rng)
            yield table

    def _add(self, table: Any, rng: np.random.Generator) -> None:
        ids = table["prediction_id"].to_pylist()
        challengers = self.look_up(ids)
        if not len(challengers):
            return
        place_of = {name: place for place, name in enumerate(ids)}
        champions = table.take([place_of[name] for name in challengers["prediction_id"].to_pylist()])
        versions = [champions["model_version"].to_pylist(), challengers["model_version"].to_pylist()]
        names = list(zip(*versions, strict=True))
        for pair in sorted(set(names)):
            chosen = np.array([name == pair for name in names])
            part = _pair(champions.filter(chosen), challengers.filter(chosen))
            self.pairs[pair] = _thinned(_joined(self.pairs.get(pair), part), rng)


def _pair(champions: Any, challengers: Any) -> Shadowed:
    champion = Decided.of_table(champions)
    decision = np.array([DECISIONS.index(name) for name in challengers["decision"].to_pylist()], dtype=np.int8)
    hybrid = challengers["hybrid_score"].to_numpy()
    probability = challengers["fraud_probability"].to_numpy()
    return Shadowed(champion, replace(champion, hybrid=hybrid, probability=probability, decision=decision))


def _joined(before: Shadowed | None, part: Shadowed) -> Shadowed:
    if before is None:
        return part
    champion = Decided.concatenate([before.champion, part.champion])
    challenger = Decided.concatenate([before.challenger, part.challenger])
    return Shadowed(champion, replace(challenger, weight=champion.weight))


def _thinned(pair: Shadowed, rng: np.random.Generator) -> Shadowed:
    while len(pair) > MOST_ROWS:
        before = len(pair)
        pair = pair.take(thinning(pair.champion, pair.champion.alert | pair.challenger.alert, rng))
        if len(pair) == before:
            break
    return pair


def with_own_threshold(rows: Decided) -> Decided:
    """Rows whose alert threshold is what their decisions tell: the lowest score that raised an alert."""
    lowest = rows.hybrid[rows.alert].min() if rows.alert.any() else _NO_ALERT
    return replace(rows, alert_threshold=np.full(len(rows), lowest))
