"""History as its definition has it, one transaction after the other: slow, and plain enough to be believed."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.bundle import Bundle
from ml_project.contract import Contract
from ml_project.contract_file import parse_contract
from ml_project.contract_parts import Feature
from ml_project.dataset import Dataset, with_history
from ml_project.engine import LocalEngine
from ml_project.ensemble import BoosterSettings, EnsembleSettings, ForestSettings
from ml_project.fitting import fit_twin
from ml_project.history import LARGEST_MINOR, minor_digits
from ml_project.policies import Thresholds
from ml_project.split import split_by_time
from stores.decisions import Chunk, DecisionRecord, KeptContract

HISTORY = """
contract: history
fields:
  at: {type: timestamp, role: event_time}
  card: {type: string, role: entity}
  shop: {type: string, role: entity, required: false}
  amount: {type: number, role: amount, unit: EUR}
  points: {type: integer, required: false}
  distance: {type: number, required: false}
label: {field: fraud}
features:
  amount: {value: amount}
  card_count: {count: {by: card, window: 2s}}
  card_sum: {sum: {of: amount, by: card, window: 3s}}
  card_mean: {mean: {of: points, by: card, window: 3s}}
  card_distance: {mean: {of: distance, by: card, window: 10s}}
  card_maximum: {maximum: {of: points, by: card, window: 5s}}
  card_shops: {distinct: {of: shop, by: card, window: 4s}}
  card_last: {seconds_since_last: {by: card, window: 3s}}
  shop_count: {count: {by: shop, window: 1m}}
  shop_rate: {fraud_rate: {by: shop, window: 5s, delay: 2s}}
  shop_late_count: {count: {by: shop, window: 4s, delay: 3s}}
  card_late_mean: {mean: {of: points, by: card, window: 5s, delay: 1s}}
  many: {count: {by: card, window: 1d}, above: 2}
  to_mean: {ratio: [amount, card_sum]}
"""
"""A contract with every operator of history, in windows of seconds."""

HISTORY_OF_DAYS = re.sub(r"(\d+)s\b", r"\1d", HISTORY)
"""The same in windows of days."""

CONTRACT = parse_contract(HISTORY_OF_DAYS.encode(), "history.yaml")


def by_definition(contract: Contract, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Features of history (n, features) of a clean table."""
    rows = frame.to_dict("records")
    times = [int(each["at"].value) // 1_000 for each in rows]
    return np.array(
        [[_value(contract, feature, rows, times, place) for feature in contract.history] for place in range(len(rows))]
    )


def _value(contract: Contract, feature: Feature, rows: list[dict], times: list[int], place: int) -> float:
    key = rows[place][feature.by]
    if key is None:
        return np.nan
    end = times[place] - feature.delay * 1_000_000
    begin = end - feature.window * 1_000_000
    chosen = []
    for other, row in enumerate(rows):
        came = times[other] <= end if feature.delay else (times[other], other) <= (times[place], place)
        if row[feature.by] == key and begin < times[other] and came:
            chosen.append(other)
    if feature.operator == "count":
        return len(chosen)
    if feature.operator == "fraud_rate":
        return sum(rows[each]["fraud"] for each in chosen) / len(chosen) if chosen else 0.0
    if feature.operator == "seconds_since_last":
        before = sorted((times[each], each) for each in chosen if each != place)
        return (times[place] - before[-1][0]) / 1_000_000 if before else np.nan
    [of] = feature.of
    given = [rows[each][of] for each in chosen if rows[each][of] is not None and rows[each][of] == rows[each][of]]
    if feature.operator == "distinct":
        return len(set(given))
    if not given:
        return np.nan
    digits = minor_digits(next(field for field in contract.fields if field.name == of))
    minor = [_minor(value, digits) for value in given]
    if feature.operator == "maximum":
        return max(minor) / 10**digits
    return sum(minor) / (10**digits * (len(minor) if feature.operator == "mean" else 1))


def _minor(value: float, digits: int) -> int:
    """Rounded as the nearest binary fraction of the scaled value is."""
    whole = int(Decimal(value * 10**digits).quantize(Decimal(1), ROUND_HALF_EVEN))
    return max(-LARGEST_MINOR, min(LARGEST_MINOR, whole))


def history_table(rows: int, seed: int) -> pd.DataFrame:
    """A clean table of the contract ``CONTRACT`` over two weeks, ordered by time."""
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.integers(0, 14 * 24 * 60, rows))

    def some(values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        return np.where(rng.random(rows) < share, values, np.nan)

    return pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min"),
            "card": rng.choice(list("abc"), rows),
            "shop": pd.Series(rng.choice(np.array(["x", "y", None], dtype=object), rows), dtype=object),
            "amount": rng.integers(-1_000, 100_000, rows) / 100,
            "points": some(rng.integers(-5, 6, rows).astype(float), 0.8),
            "distance": some(rng.normal(0, 1e5, rows), 0.8),
            "fraud": rng.integers(0, 2, rows).astype(np.int8),
        }
    )


GIVEN = ("at", "card", "shop", "amount", "points", "distance")
"""What clients send."""


def sent_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of `history_table` as clients send them, named by their places."""
    rows = table[list(GIVEN)].assign(at=table["at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dict("records")
    named = ({key: value for key, value in row.items() if value is not None and value == value} for row in rows)
    return [{**row, "transaction_id": f"t{place}"} for place, row in enumerate(named)]


def history_bundle() -> Bundle:
    """A small model of the contract ``CONTRACT``."""
    data = Dataset.from_frame(with_history(history_table(900, seed=1), CONTRACT), CONTRACT)
    settings = EnsembleSettings(0.3, ForestSettings(10, 64), BoosterSettings(rounds=6, num_parallel_tree=1))
    draft = fit_twin(split_by_time(data), settings, LocalEngine(), {"source": "file"}).bundle
    thresholds = {"policy": "f1", "policies": {"f1": Thresholds(0.5, 0.8)}}
    return replace(draft, manifest=draft.manifest.model_copy(update=thresholds))


def decided(table: pd.DataFrame) -> list[DecisionRecord]:
    """Decisions on the transactions of a table, every other one with the client's own name for it."""
    kept = KeptContract.of(CONTRACT)
    rows: list[dict[str, Any]] = table.to_dict("records")
    return [
        DecisionRecord(
            prediction_id=f"00000000-0000-7000-8000-{place:012x}",
            received_at=datetime(2026, 2, 1, tzinfo=UTC),
            contract=kept,
            inputs=tuple(row.get(name, np.nan) for name in kept.names),
            isolation_score=0.1,
            boosted_score=0.2,
            hybrid_score=0.15,
            fraud_probability=0.01,
            alert_threshold=0.5,
            decline_threshold=0.9,
            decision="APPROVE",
            model_version="1",
            bundle_digest="d",
            latency_ms=1.0,
            request_id="r",
            transaction_id=f"t{place}" if place % 2 else None,
            event_time=row["at"].to_pydatetime(),
        )
        for place, row in enumerate(rows)
    ]


def decided_together(table: pd.DataFrame, **fields: Any) -> Chunk:
    """The same in one bulk request, all of them named by the client."""
    kept = KeptContract.of(CONTRACT)
    raw = np.full((len(table), len(kept.names)), np.nan)
    for place in kept.numbers:
        if kept.names[place] in table:
            raw[:, place] = table[kept.names[place]]
    given: dict[str, Any] = {
        "received_at": datetime(2026, 2, 1, tzinfo=UTC),
        "contract": kept,
        "raw": raw,
        "texts": {kept.names[place]: table[kept.names[place]].tolist() for place in kept.texts},
        "scores": np.full((4, len(table)), 0.25),
        "decisions": ["REVIEW" if place % 10 == 1 else "APPROVE" for place in range(len(table))],
        "alert_threshold": 0.5,
        "decline_threshold": 0.9,
        "model_version": "1",
        "bundle_digest": "d",
        "latency_ms": 1.0,
        "request_id": "r",
        "transaction_ids": [f"bulk {place}" for place in range(len(table))],
        "event_times": [moment.to_pydatetime() for moment in table["at"]],
    }
    return Chunk(**given | fields)
