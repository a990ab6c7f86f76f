"""The decisions that the gateway kept, read for monitoring, for replays and for training, in bounded memory.

All three readers take the Arrow tables of ``DecisionStore.tables_by_event_time``. They hold at most ``MOST_ROWS`` rows
of a kind: beyond that, unlabelled approvals are thinned and the remaining ones weigh more.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from ml_project.columns import raw_column
from ml_project.contract import Contract
from ml_project.policies import DECISIONS, Decision

MOST_ROWS: Final = 500_000
"""Rows held of one kind: of a model version, of a pair of champion and challenger, or for training."""

UNLABELLED: Final = -1
_NO_ALERT: Final = np.inf
_ONLY_FOR_READING: Final = ["received_at", "labelled_at", "repeated"]


@dataclass(frozen=True)
class KeptDecisions:
    """Decisions of one version, n rows.

    Attributes
    ----------
    raw : (n, fields)
    amount, hybrid, probability, latency_ms, alert_threshold, weight : (n,)
    decision : (n,) int8
        Places in ``ml_project.policies.DECISIONS``.
    label : (n,) int8
        The newest label; -1 without one.
    moment : (n,)
        Event time in seconds since 1970; the time of receipt where there is none.
    review_rate : (n,)
        Probability with which it went to review: 1 for an alert, the sample's rate for an approval in it, else 0.
    single : (n,) bool
        Whether the row came in a request for one transaction: the latency of a bulk chunk is that of thousands of rows.
    keys : (n, entities) uint64
        A digest of each entity's key, so that rows of the same card, customer or terminal can be told; a row without a
        key has one of its own.
    """

    raw: NDArray[np.float64]
    amount: NDArray[np.float64]
    hybrid: NDArray[np.float64]
    probability: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    alert_threshold: NDArray[np.float64]
    weight: NDArray[np.float64]
    decision: NDArray[np.int8]
    label: NDArray[np.int8]
    moment: NDArray[np.float64]
    review_rate: NDArray[np.float64]
    single: NDArray[np.bool_]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.moment)

    @property
    def rows(self) -> float:
        """How many decisions the rows stand for."""
        return float(self.weight.sum())

    @property
    def alert(self) -> NDArray[np.bool_]:
        """Which rows are not approvals."""
        return self.decision > 0

    @property
    def digest(self) -> str:
        """SHA-256 of what was sent, decided and labelled, in hexadecimal."""
        content = hashlib.sha256()
        for column in (self.raw, self.moment, self.hybrid, self.label, self.weight):
            content.update(np.ascontiguousarray(column).tobytes())
        return content.hexdigest()

    def to_frame(self, contract: Contract) -> pd.DataFrame:
        """Raw fields, score, decision and label of each row."""
        frame = pd.DataFrame(self.raw, columns=list(contract.raw_fields))
        decision = np.array(DECISIONS)[self.decision]
        return frame.assign(hybrid_score=self.hybrid, decision=decision, label=self.label)

    def take(self, chosen: Any) -> "KeptDecisions":
        """Some of the rows, by mask, places or slice."""
        return KeptDecisions(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: "list[KeptDecisions]") -> "KeptDecisions":
        """Several parts as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def none(cls, contract: Contract) -> "KeptDecisions":
        """No rows."""
        return cls.of_table(_empty_table(contract), contract)

    @classmethod
    def of_table(cls, table: Any, contract: Contract) -> "KeptDecisions":
        """The rows of an Arrow table as the decision store gives it."""

        def column(name: str) -> NDArray[np.float64]:
            values: NDArray[np.float64] = table[name].to_numpy()
            return values

        moments = np.where(table["event_time"].is_valid(), table["event_time"].to_numpy(), column("received_at"))
        raw = raw_values(table, contract)
        return cls(
            raw=raw,
            amount=contract.amounts(raw),
            hybrid=column("hybrid_score"),
            probability=column("fraud_probability"),
            latency_ms=column("latency_ms"),
            alert_threshold=column("alert_threshold"),
            weight=np.ones(len(table)),
            decision=decision_places(table),
            label=table["label"].fill_null(UNLABELLED).to_numpy(),
            moment=moments.astype("datetime64[us]").astype(np.int64) / 1e6,
            review_rate=table["review_rate"].fill_null(0.0).to_numpy(),
            single=table["segment_id"].is_null().to_numpy(),
            keys=_keys(table, contract),
        )


def raw_values(table: Any, contract: Contract) -> NDArray[np.float64]:
    """The raw fields (n, fields) of a table of decisions, as the contract has them: in its order, by its categories.

    What may be missing, and was no field when they were decided, is missing.
    """
    absent = np.full(len(table), np.nan)
    return np.column_stack(
        [
            raw_column(field, table[field.name]) if field.required or field.name in table.column_names else absent
            for field in contract.scored_fields
        ]
    )


def _keys(table: Any, contract: Contract) -> NDArray[np.uint64]:
    columns = [name for name in contract.entities if name in table.column_names]
    named = [compute.coalesce(table[name], table["prediction_id"]).to_pylist() for name in columns]
    digests = [pd.util.hash_array(np.array(each, dtype=object)) for each in named]
    return np.column_stack(digests) if digests else np.zeros((len(table), 0), dtype=np.uint64)


def decision_places(table: Any) -> NDArray[np.int8]:
    """The decisions (n,) of a table as places in ``ml_project.policies.DECISIONS``."""
    return np.array([DECISIONS.index(name) for name in table["decision"].to_pylist()], dtype=np.int8)


def answered_rows(table: Any) -> NDArray[np.bool_]:
    """Which rows (n,) answered a transaction for the first time: neither repeated nor refused."""
    answered: NDArray[np.bool_] = ~table["duplicate_of"].is_valid().to_numpy() & ~_refused_rows(table)
    return answered


def _refused_rows(table: Any) -> NDArray[np.bool_]:
    """Bulk rows that got no decision, because another transaction has their transaction_id."""
    conflict = table["conflicts_with"].is_valid().to_numpy() & table["segment_id"].is_valid().to_numpy()
    refused: NDArray[np.bool_] = conflict & ~table["spooled"].to_numpy(zero_copy_only=False)
    return refused


def thinning(
    plain: NDArray[np.bool_], weight: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Any, NDArray[np.float64]]:
    """Which rows stay so that at most ``MOST_ROWS`` do, and their weights.

    Half of the plain rows go at a time, and the weight of the other half doubles. All other rows stay.

    Parameters
    ----------
    plain, weight : (n,)
        Which rows may go, and what each row stands for.

    Returns
    -------
    places : slice or (m,) int64
        Places of the rows that stay.
    weight : (m,)
        Their weights.
    """
    if len(plain) <= MOST_ROWS:
        return slice(None), weight
    places, weight = np.arange(len(plain)), weight.copy()
    while len(places) > MOST_ROWS:
        may_go = plain[places]
        stays = ~may_go | (rng.random(len(places)) < 0.5)
        if stays.all():
            break
        weight[places[may_go]] *= 2
        places = places[stays]
    return places, weight[places]


def read_by_version(
    tables: Iterable[Any], contract: Contract | Callable[[str], Contract], seed: int = 0
) -> dict[str, KeptDecisions]:
    """Decisions by model version, each transaction once.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        What ``DecisionStore.tables_by_event_time`` gives.
    contract : Contract or callable
        Of all of them, or by the digest of a bundle (``DecisionStore.contract_of``): versions may have more fields, and
        other values of a category.
    seed : int
        Chooses the rows that thinning leaves out.
    """
    rng = np.random.default_rng(seed)
    held: dict[str, KeptDecisions] = {}
    waiting: dict[str, list[KeptDecisions]] = {}

    def take_in(version: str) -> None:
        parts = waiting.pop(version)
        rows = KeptDecisions.concatenate([held[version], *parts] if version in held else parts)
        places, weight = thinning(~rows.alert & (rows.label == UNLABELLED), rows.weight, rng)
        held[version] = replace(rows.take(places), weight=weight)

    for table in tables:
        rows = table.filter(answered_rows(table))
        versions = np.array(rows["model_version"].to_pylist(), dtype=object)
        for version in sorted(set(versions.tolist())):
            mine = rows.filter(versions == version)
            own = contract if isinstance(contract, Contract) else contract(mine["bundle_digest"][0].as_py())
            waiting.setdefault(version, []).append(KeptDecisions.of_table(mine, own))
            if sum(map(len, waiting[version])) >= MOST_ROWS // 2:
                take_in(version)
    for version in list(waiting):
        take_in(version)
    return held


@dataclass(frozen=True)
class ShadowPair:
    """Rows that champion and challenger both scored; the two differ in scores and decisions only."""

    champion: KeptDecisions
    challenger: KeptDecisions

    def __len__(self) -> int:
        return len(self.champion)

    def joined(self, other: "ShadowPair | None") -> "ShadowPair":
        """The rows of another pair, then these."""
        if other is None:
            return self
        return ShadowPair(
            KeptDecisions.concatenate([other.champion, self.champion]),
            KeptDecisions.concatenate([other.challenger, self.challenger]),
        )

    def thinned(self, rng: np.random.Generator) -> "ShadowPair":
        """At most ``MOST_ROWS`` rows, where enough of them are unlabelled and approved by both."""
        alert = self.champion.alert | self.challenger.alert
        places, weight = thinning(~alert & (self.champion.label == UNLABELLED), self.champion.weight, rng)
        sides = self.champion, self.challenger
        return ShadowPair(*(replace(side.take(places), weight=weight) for side in sides))


@dataclass
class ShadowReader:
    """Passes tables of decisions on, and keeps what challengers decided about the same transactions.

    Parameters
    ----------
    look_up : callable
        ``DecisionStore.shadow_of``.
    contract : Contract or callable
        See `read_by_version`.

    Attributes
    ----------
    pairs : dict
        By the versions of champion and challenger.
    """

    look_up: Callable[[Sequence[str]], Any]
    contract: Contract | Callable[[str], Contract]
    seed: int = 0
    pairs: dict[tuple[str, str], ShadowPair] = field(default_factory=dict)

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
            mine = champions.filter(chosen)
            given = self.contract
            own = given if isinstance(given, Contract) else given(mine["bundle_digest"][0].as_py())
            part = _pair(mine, challengers.filter(chosen), own)
            self.pairs[pair] = part.joined(self.pairs.get(pair)).thinned(rng)


def _pair(champions: Any, challengers: Any, contract: Contract) -> ShadowPair:
    champion = KeptDecisions.of_table(champions, contract)
    hybrid = challengers["hybrid_score"].to_numpy()
    probability = challengers["fraud_probability"].to_numpy()
    decision = decision_places(challengers)
    return ShadowPair(champion, replace(champion, hybrid=hybrid, probability=probability, decision=decision))


def with_own_threshold(rows: KeptDecisions) -> KeptDecisions:
    """Rows with the alert threshold that their decisions imply: the lowest score that raised an alert."""
    lowest = rows.hybrid[rows.alert].min() if rows.alert.any() else _NO_ALERT
    return replace(rows, alert_threshold=np.full(len(rows), lowest))


def read_for_training(
    tables: Iterable[Any],
    contract: Contract,
    seed: int = 0,
    beside: Callable[[Any], dict[str, Any]] = lambda _table: {},
    whole: bool = False,
) -> pd.DataFrame:
    """Decisions as rows to learn from: each transaction once, as first scored, with its newest label.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        What ``DecisionStore.tables_by_event_time`` gives.
    contract : Contract
        What the columns are called.
    seed : int
        Chooses the rows that thinning leaves out.
    beside : callable
        Further columns of a table.
    whole : bool
        Hold all rows, however many they are.

    Returns
    -------
    DataFrame
        The raw fields, the event time (receipt where the client gave none), ``label`` (-1 without one), ``alert``,
        ``review_rate`` (the probability with which an approval was drawn for review; 0 where it was not) and the weight
        (what the row stands for). The index is the name of the transaction.
    """
    rng = np.random.default_rng(seed)
    held, waiting = _training_rows(_empty_table(contract), contract, beside), []
    for table in tables:
        waiting.append(_training_rows(table, contract, beside))
        if sum(map(len, waiting)) >= MOST_ROWS // 2:
            held, waiting = _thin(pd.concat([held, *waiting]), contract.weight, rng, whole), []
    return _one_per_transaction(_thin(pd.concat([held, *waiting]), contract.weight, rng, whole), contract.event_time)


def _empty_table(contract: Contract) -> Any:
    from stores.decisions.archive import schema_of

    return schema_of(contract).empty_table()


def _training_rows(table: Any, contract: Contract, beside: Callable[[Any], dict[str, Any]]) -> pd.DataFrame:
    # repeated rows stay: the newest label of a transaction may be on any of its predictions
    table = table.filter(~_refused_rows(table))
    times = {
        contract.event_time: compute.coalesce(table["event_time"], table["received_at"]),
        "received_at": table["received_at"],
        "labelled_at": table["labelled_at"],
    }
    names = compute.coalesce(table["transaction_id"], table["prediction_id"]).to_pylist()
    own = {
        "label": table["label"].fill_null(UNLABELLED).to_numpy(),
        "alert": compute.not_equal(table["decision"], pa.scalar(str(Decision.APPROVE))).to_numpy(),
        "review_rate": table["review_rate"].fill_null(0.0).to_numpy(),
        "repeated": compute.or_(table["duplicate_of"].is_valid(), table["conflicts_with"].is_valid()).to_numpy(),
        contract.weight: np.ones(len(table)),
    }
    raw = dict(zip(contract.raw_fields, raw_values(table, contract).T, strict=True))
    dated = {name: values.to_pandas().to_numpy("datetime64[us]") for name, values in times.items()}
    return pd.DataFrame(raw | beside(table) | dated | own, index=pd.Index(names, dtype=object))


def _thin(rows: pd.DataFrame, weight: str, rng: np.random.Generator, whole: bool) -> pd.DataFrame:
    if whole:
        return rows
    plain = ~rows["alert"] & (rows["review_rate"] == 0) & (rows["label"] == UNLABELLED)
    places, weights = thinning(plain.to_numpy(), rows[weight].to_numpy(), rng)
    kept: pd.DataFrame = rows.iloc[places]
    return kept.assign(**{weight: weights})


def _one_per_transaction(rows: pd.DataFrame, event_time: str) -> pd.DataFrame:
    labelled = rows[rows["label"] != UNLABELLED].sort_values("labelled_at", kind="stable")
    newest = labelled[~labelled.index.duplicated(keep="last")]["label"]
    ordered = rows.sort_values(["repeated", "received_at"], kind="stable")
    firsts = ordered[~ordered.index.duplicated(keep="first")].sort_values(event_time, kind="stable")
    label = newest.reindex(firsts.index).fillna(UNLABELLED).astype(np.int8)
    dated = firsts[event_time].dt.tz_localize("UTC")
    return firsts.drop(columns=_ONLY_FOR_READING).assign(**{event_time: dated, "label": label})
