"""Kept decisions of a window as arrays, one set per model version, in bounded memory."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.schema import RAW_FEATURES
from ml_project.scorer import Decision

MOST_ROWS: Final = 500_000
"""Rows held per version; beyond them, plain approvals are thinned and the rest of them weigh more."""

UNLABELLED: Final = -1
DECISIONS: Final = tuple(str(decision) for decision in Decision)


@dataclass(frozen=True)
class Decided:
    """Decisions of one version, n rows.

    Attributes
    ----------
    raw : (n, 30)
    hybrid, probability, latency_ms, alert_threshold, weight : (n,)
    decision : (n,) int8
        Places in ``DECISIONS``.
    label : (n,) int8
        The newest label; -1 without one.
    moment : (n,)
        Event time in seconds since 1970, by receipt where there is none.
    single : (n,) bool
        Whether a request of its own brought it: a bulk chunk's latency is that of thousands of rows.
    """

    raw: NDArray[np.float64]
    hybrid: NDArray[np.float64]
    probability: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    alert_threshold: NDArray[np.float64]
    weight: NDArray[np.float64]
    decision: NDArray[np.int8]
    label: NDArray[np.int8]
    moment: NDArray[np.float64]
    single: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.moment)

    @property
    def rows(self) -> float:
        """How many decisions they stand for."""
        return float(self.weight.sum())

    @property
    def alert(self) -> NDArray[np.bool_]:
        """Which are no approvals."""
        return self.decision > 0

    def take(self, chosen: Any) -> "Decided":
        """Some of them, by mask or places."""
        return Decided(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: "list[Decided]") -> "Decided":
        """Parts as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def of_table(cls, table: Any) -> "Decided":
        """An Arrow table of `stores.decisions.archive`."""

        def column(name: str) -> NDArray[np.float64]:
            values: NDArray[np.float64] = table[name].to_numpy()
            return values

        moments = np.where(table["event_time"].is_valid(), table["event_time"].to_numpy(), column("received_at"))
        return cls(
            raw=np.column_stack([column(name) for name in RAW_FEATURES]),
            hybrid=column("hybrid_score"),
            probability=column("fraud_probability"),
            latency_ms=column("latency_ms"),
            alert_threshold=column("alert_threshold"),
            weight=np.ones(len(table)),
            decision=np.array([DECISIONS.index(name) for name in table["decision"].to_pylist()], dtype=np.int8),
            label=table["label"].fill_null(UNLABELLED).to_numpy(),
            moment=moments.astype("datetime64[us]").astype(np.int64) / 1e6,
            single=table["segment_id"].is_null().to_numpy(),
        )


def read(tables: Iterable[Any], seed: int = 0) -> dict[str, Decided]:
    """Decisions by model version, each transaction once.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        What ``DecisionStore.tables_by_event_time`` gives.
    seed : int
        For what is thinned.
    """
    rng = np.random.default_rng(seed)
    held: dict[str, Decided] = {}
    waiting: dict[str, list[Decided]] = {}
    for table in tables:
        rows = table.filter(answered_rows(table))
        versions = np.array(rows["model_version"].to_pylist(), dtype=object)
        for version in sorted(set(versions.tolist())):
            part = Decided.of_table(rows.filter(versions == version))
            waiting.setdefault(version, []).append(part)
            if sum(map(len, waiting[version])) >= MOST_ROWS // 2:
                held[version] = _thinned(_joined(held.get(version), waiting.pop(version)), rng)
    for version, parts in waiting.items():
        held[version] = _thinned(_joined(held.get(version), parts), rng)
    return held


def _joined(before: Decided | None, parts: list[Decided]) -> Decided:
    return Decided.concatenate(parts if before is None else [before, *parts])


def answered_rows(table: Any) -> Any:
    """Without repetitions, and without bulk rows that were refused because their transaction_id was taken."""
    repeated = table["duplicate_of"].is_valid().to_numpy()
    refused = table["conflicts_with"].is_valid().to_numpy() & table["segment_id"].is_valid().to_numpy()
    return ~repeated & ~(refused & ~table["spooled"].to_numpy())


def _thinned(rows: Decided, rng: np.random.Generator) -> Decided:
    while len(rows) > MOST_ROWS:
        before = len(rows)
        rows = rows.take(thinning(rows, rows.alert, rng))
        if len(rows) == before:
            break
    return rows


def thinning(rows: Decided, alert: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows stay: half of the plain approvals, whose weight is doubled here; alerts and labels all."""
    plain = ~alert & (rows.label == UNLABELLED)
    rows.weight[plain] *= 2
    kept: NDArray[np.bool_] = ~plain | (rng.random(len(rows)) < 0.5)
    return kept
