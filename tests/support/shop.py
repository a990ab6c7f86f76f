"""A bank's own contract, with names that want quoting in YAML, SQL, CSV or code."""

from typing import Final

import numpy as np
import pandas as pd

from ml_project.contract import Contract
from ml_project.contract_file import parse_contract

SHOP_YAML: Final = """\
contract: shop
fields:
  seconds of the day: {type: number, role: time, minimum: 0}
  betrag.in.€: {type: number, role: amount, minimum: 0, example: 12.5}
  class: {type: number}
  1st: {type: number, minimum: -50, maximum: 50}
  select "all": {type: number}
  no: {type: number}
label: {field: "is fraud?"}
features:
  hour: {hour_of_day: seconds of the day}
  betrag.in.€: {value: betrag.in.€}
  class: {value: class, monotone: learnt}
  1st: {value: 1st}
  select "all": {value: select "all", left_out: it says nothing}
  no: {value: no}
  betrag_log: {log1p: betrag.in.€, description: logarithm of the amount}
  betrag_z: {zscore: betrag.in.€}
  class_to_1st: {ratio: [class, 1st]}
  log_to_ratio: {ratio: [betrag_log, class_to_1st]}
  afternoon: {hour_of_day: seconds of the day, between: [12, 18]}
  large: {value: betrag.in.€, above: 40}
  spread: {variance: [class, 1st, no]}
"""

SHOP: Final[Contract] = parse_contract(SHOP_YAML.encode(), "shop.yaml")


def shop_transactions(rows: int, seed: int, frauds: float = 0.03) -> pd.DataFrame:
    """Transactions in time order; frauds have a high ``class`` and a low ``1st``."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < frauds
    values = rng.normal(size=(rows, 4)) + np.outer(fraud, [2.5, -2.5, 0.0, 0.5])
    frame = pd.DataFrame(values, columns=["class", "1st", 'select "all"', "no"])
    frame.insert(0, "betrag.in.€", np.round(rng.exponential(20, rows), 2))
    frame.insert(0, "seconds of the day", np.sort(rng.uniform(0, 3 * 86_400, rows)).round())
    return frame.assign(**{"is fraud?": fraud.astype(int)})


VISITS_YAML: Final = """\
contract: visits
fields:
  channel: {type: category, values: [web, chip, phone], required: false}
  country: {type: category}
  items: {type: integer, minimum: 0, maximum: 1000, required: false}
  new customer: {type: boolean}
  newsletter: {type: boolean, required: false}
  score: {type: number, required: false}
  risk: {type: number}
label: {field: outcome, positive: fraud, negative: [legit, fine], unknown: [open, ""], expected_rate: [0.001, 0.5]}
features:
  channel: {one_hot: channel}
  channel_frequency: {frequency: channel}
  country: {one_hot: country, monotone: none}
  country_frequency: {frequency: country}
  items: {value: items}
  many: {value: items, above: 3}
  items_z: {zscore: items}
  new customer: {value: new customer}
  newsletter: {value: newsletter}
  score: {value: score, monotone: learnt}
  no_score: {missing: score}
  risk: {value: risk}
  risk_per_item: {ratio: [risk, items]}
  spread: {variance: [score, risk]}
"""
"""Categories, booleans and missing values; no time, no amount, and a label in words, one of which says unknown."""

VISITS: Final[Contract] = parse_contract(VISITS_YAML.encode(), "visits.yaml")
DATED_VISITS_YAML: Final = VISITS_YAML.replace("fields:\n", "fields:\n  at: {type: timestamp, role: event_time}\n")
"""With a time, since Spark keeps no order of files."""
COUNTRIES: Final = ("AT", "CH", "DE", "NA")


def visits(rows: int, seed: int, frauds: float = 0.05) -> pd.DataFrame:
    """Transactions of the contract `visits`; frauds have a high risk, and often no channel."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < frauds
    gaps = rng.random((rows, 4)) < 0.2
    channel = rng.choice(["web", "chip", "phone", "fax"], rows, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    channel[gaps[:, 0] | (fraud & (rng.random(rows) < 0.5))] = None
    outcome = np.where(fraud, "fraud", rng.choice(["legit", "fine"], rows)).astype(object)
    outcome[rng.random(rows) < 0.03] = "open"
    newsletter = rng.choice([True, False], rows).astype(object)
    newsletter[gaps[:, 1]] = None
    return pd.DataFrame(
        {
            "channel": channel,
            "country": rng.choice(COUNTRIES, rows, p=[0.3, 0.2, 0.4, 0.1]),
            "items": np.where(gaps[:, 2], np.nan, rng.integers(0, 9, rows)),
            "new customer": rng.random(rows) < 0.3,
            "newsletter": newsletter,
            "score": np.where(gaps[:, 3], np.nan, rng.normal(size=rows) + 1.5 * fraud),
            "risk": rng.normal(size=rows) + 2.5 * fraud,
            "outcome": outcome,
        }
    )


def dated_visits(rows: int, seed: int, frauds: float = 0.05) -> pd.DataFrame:
    """The same, one each half a minute, and frauds that are easier to tell."""
    moments = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) * 30, unit="s")
    frame = visits(rows, seed, frauds).assign(at=moments)
    return frame.assign(risk=frame["risk"] + 1.5 * (frame["outcome"] == "fraud"))


WIDE_YAML: Final = """\
contract: wide
fields:
  "V 1..V 297": {type: number}
  code: {type: category, values: [a, b], required: false}
  tag: {type: category, values: [x, y]}
  eur: {type: number, role: amount, minimum: 0}
label: {field: y}
features:
  "V 1..V 297": {value: V 1..V 297}
  code: {one_hot: code}
  tag: {one_hot: tag}
  spread: {variance: V 1..V 297}
"""
"""Three hundred columns."""

WIDE: Final[Contract] = parse_contract(WIDE_YAML.encode(), "wide.yaml")


def wide_transactions(rows: int, seed: int) -> pd.DataFrame:
    """Transactions of the contract `wide`; of frauds all numbers are a little higher, the first one much."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.1
    numbers = rng.normal(size=(rows, 297)) + 0.3 * fraud[:, None]
    numbers[:, 0] += 3 * fraud
    frame = pd.DataFrame(np.round(numbers, 6), columns=[f"V {place}" for place in range(1, 298)])
    words = {"code": rng.choice(["a", "b", "c"], rows), "tag": rng.choice(["x", "y"], rows)}
    return frame.assign(**words, eur=np.round(rng.exponential(20, rows), 2), y=fraud.astype(int))


CARDS_YAML: Final = """\
contract: cards
fields:
  transaction: {type: string, role: transaction_id}
  at: {type: timestamp, role: event_time}
  card no.: {type: string, role: entity}
  since: {type: timestamp, required: false}
  cents: {type: integer, role: amount, minimum: 0, decimals: 2, unit: EUR}
  risk: {type: number}
label: {field: is_fraud, positive: "yes", negative: "no"}
features:
  hour: {hour_of_day: at}
  night: {hour_of_day: at, between: [0, 6]}
  day: {day_of_week: at}
  weekend: {weekend: at}
  since_day: {day_of_week: since}
  cents: {value: cents}
  cents_log: {log1p: cents}
  risk: {value: risk}
"""
"""String keys, times with zones, and integer amounts in cents."""

CARDS: Final[Contract] = parse_contract(CARDS_YAML.encode(), "cards.yaml")


def card_transactions(rows: int, seed: int, frauds: float = 0.05, days: int = 20) -> pd.DataFrame:
    """Transactions of the contract `cards` in time order; frauds have a high risk, and come at night."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < frauds
    seconds = np.sort(rng.uniform(0, days * 86_400, rows))
    seconds = np.where(fraud, seconds - seconds % 86_400 + seconds % 86_400 / 4, seconds)
    moments = pd.Timestamp("2026-01-01T00:00:00+01:00") + pd.to_timedelta(np.round(seconds, 3), unit="s")
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 2_000, rows), unit="D")
    return pd.DataFrame(
        {
            "transaction": [f"t-{seed}-{number}" for number in range(rows)],
            "at": [each.isoformat() for each in moments],
            "card no.": [f"card {number}" for number in rng.integers(0, 50, rows)],
            "since": np.where(rng.random(rows) < 0.2, None, since.strftime("%Y-%m-%d").to_numpy(dtype=object)),
            "cents": rng.integers(1, 50_000, rows),
            "risk": rng.normal(size=rows) + 2.5 * fraud,
            "is_fraud": np.where(fraud, "yes", "no"),
        }
    )
