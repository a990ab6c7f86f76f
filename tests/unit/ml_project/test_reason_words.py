"""Sentences of features from history: what happened, and what is usual."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.contract import Contract
from ml_project.contract_file import contract_named, parse_contract
from ml_project.features import OPERATORS, FeatureTransform
from ml_project.operators import HISTORY_OPERATORS, Scale
from ml_project.quantities import in_unit, number, percent, plural, span
from ml_project.reason_words import _SENTENCES, ReasonWords
from ml_project.statistics import FeatureStatistics
from tests.support.creditcard import CREDITCARD

CARDS = parse_contract(
    b"""
contract: cards
version: 1
fields:
  transaction: {type: string, role: transaction_id, description: the transaction's own name}
  at: {type: timestamp, role: event_time, description: when it happened}
  customer: {type: string, role: entity, description: whose card it was}
  terminal: {type: string, role: entity, description: where it was used}
  amount: {type: number, role: amount, minimum: 0, unit: EUR, example: 57.16, description: amount}
label: {field: fraud, positive: 1, negative: 0}
features:
  amount: {value: amount, description: amount}
  hour: {hour_of_day: at, description: hour of day}
  weekend: {weekend: at, description: weekend}
  night: {hour_of_day: at, between: [0, 7], description: night}
  customer_count_1d: {count: {by: customer, window: 1d}}
  customer_count_7d: {count: {by: customer, window: 7d}}
  customer_count_30d: {count: {by: customer, window: 30d}}
  customer_mean_1d: {mean: {of: amount, by: customer, window: 1d}}
  customer_mean_7d: {mean: {of: amount, by: customer, window: 7d}}
  customer_mean_30d: {mean: {of: amount, by: customer, window: 30d}}
  customer_maximum_30d: {maximum: {of: amount, by: customer, window: 30d}}
  customer_terminals_7d: {distinct: {of: terminal, by: customer, window: 7d}}
  customer_seconds_since_last: {seconds_since_last: {by: customer, window: 30d}}
  amount_to_mean_1d: {ratio: [amount, customer_mean_1d]}
  amount_to_mean_7d: {ratio: [amount, customer_mean_7d]}
  amount_to_mean_30d: {ratio: [amount, customer_mean_30d]}
  amount_to_maximum_30d: {ratio: [amount, customer_maximum_30d]}
  count_1d_to_30d: {ratio: [customer_count_1d, customer_count_30d]}
  terminal_count_1d: {count: {by: terminal, window: 1d}}
  terminal_count_7d: {count: {by: terminal, window: 7d}}
  terminal_fraud_rate_1d: {fraud_rate: {by: terminal, window: 1d, delay: 7d}}
  terminal_fraud_rate_7d: {fraud_rate: {by: terminal, window: 7d, delay: 7d}}
  terminal_fraud_rate_30d: {fraud_rate: {by: terminal, window: 30d, delay: 7d}}
  terminal_known_7d: {count: {by: terminal, window: 7d, delay: 7d}}
  terminal_known_30d: {count: {by: terminal, window: 30d, delay: 7d}}
  terminal_mean_before: {mean: {of: amount, by: terminal, window: 1d, delay: 7d}}
  amount_to_before: {ratio: [amount, terminal_mean_before]}
""",
    "cards.yaml",
)
"""Customers and terminals with features of every length."""

EVERY = parse_contract(
    b"""
contract: every
fields:
  at: {type: timestamp, role: event_time}
  card: {type: string, role: entity}
  web_shop: {type: string, role: entity, required: false}
  amount: {type: integer, role: amount, decimals: 2, unit: EUR, minimum: 0}
  distance: {type: number, unit: km, required: false}
  country: {type: category, values: [FR, DE], required: false}
label: {field: fraud}
features:
  amount: {value: amount}
  amount_log: {log1p: amount}
  amount_z: {zscore: amount}
  hour: {hour_of_day: at}
  day: {day_of_week: at}
  weekend: {weekend: at}
  country: {one_hot: country}
  common: {frequency: country}
  no_country: {missing: country}
  spread: {variance: [amount, distance]}
  largest: {max_abs: [amount, distance]}
  size: {mean_abs: [amount, distance]}
  count_1h: {count: {by: card, window: 1h}}
  count_9h: {count: {by: card, window: 9h}}
  sum_1d: {sum: {of: amount, by: card, window: 1d}}
  sum_10d: {sum: {of: amount, by: card, window: 10d}}
  mean_10d: {mean: {of: amount, by: card, window: 10d}}
  far: {mean: {of: distance, by: card, window: 90m}}
  most: {maximum: {of: amount, by: web_shop, window: 3d}}
  countries: {distinct: {of: country, by: card, window: 2d}}
  gap: {seconds_since_last: {by: web_shop, window: 45s}}
  rate: {fraud_rate: {by: web_shop, window: 12h, delay: 3d}}
  known: {count: {by: card, window: 2d, delay: 3d}}
  before: {mean: {of: amount, by: web_shop, window: 1d, delay: 1d}}
  known_total: {sum: {of: amount, by: card, window: 3d, delay: 3d}}
  many: {count: {by: card, window: 1d}, above: 5}
  quick: {seconds_since_last: {by: card, window: 1h}, between: [0, 90]}
  risky: {fraud_rate: {by: web_shop, window: 7d, delay: 7d}, above: 0.05}
  log_count: {log1p: count_1h}
  log_many: {log1p: count_1h, above: 2}
  much: {value: sum_1d, above: 100000}
  to_mean: {ratio: [amount, mean_10d]}
  to_rate: {ratio: [rate, gap]}
  share: {ratio: [sum_1d, sum_10d]}
  to_log: {ratio: [amount_log, log_count], above: 3}
""",
    "every.yaml",
)
"""With every operator, tests of their values, and features that are made of others."""

OF_HISTORY = [each.name for each in EVERY.features][[each.name for each in EVERY.features].index("count_1h") :]


def words_of(contract: Contract, median: float = 2.0) -> tuple[ReasonWords, FeatureTransform]:
    features = np.full((1, len(contract.features)), median, dtype=np.float32)
    statistics = FeatureStatistics.fit(contract.feature_names, features, np.ones(1))
    scales = dict.fromkeys(contract.scaled_features, Scale(1.0, 2.0))
    shares = dict.fromkeys(contract.counted_features, (0.1, 0.4, 0.4, 0.1))
    return ReasonWords(contract, statistics), FeatureTransform(contract, scales, shares)


def said_of(contract: Contract, median: float = 2.0, **values: float) -> dict[str, str | None]:
    """The sentence of each feature; what is not given is missing."""
    words, transform = words_of(contract, median)
    raw = np.array([[values.get(name, np.nan) for name in contract.raw_fields]])
    with np.errstate(all="ignore"):
        features = transform(raw)
    return {name: words.sentence(name, raw[0], features[0]) for name in contract.feature_names}


USUAL: dict[str, float] = {
    **{"amount": 300.0, "customer_count_1d": 7, "customer_count_7d": 12, "customer_count_30d": 36},
    **{"customer_mean_1d": 220.0, "customer_mean_7d": 100.0, "customer_mean_30d": 57.6, "customer_terminals_7d": 5},
    **{"customer_maximum_30d": 310.5, "customer_seconds_since_last": 0.8, "terminal_count_1d": 3},
    **{"terminal_count_7d": 21, "terminal_fraud_rate_1d": 0, "terminal_fraud_rate_7d": 0.41},
    **{"terminal_fraud_rate_30d": 0.0312, "terminal_known_7d": 20, "terminal_known_30d": 112},
    "terminal_mean_before": 12.5,
}


def test_the_cards_in_sentences() -> None:
    assert {name: said for name, said in said_of(CARDS, **USUAL).items() if said} == {
        "customer_count_1d": "7 transactions in 24 hours, this customer's usual is 1",
        "customer_count_7d": "12 transactions in 7 days, this customer's usual is 7.3",
        "customer_count_30d": "36 transactions of this customer in 30 days, usual is 2",
        "customer_mean_1d": "mean amount EUR 220.00 in 24 hours, this customer's usual is EUR 57.60",
        "customer_mean_7d": "mean amount EUR 100.00 in 7 days, this customer's usual is EUR 57.60",
        "customer_mean_30d": "mean amount EUR 57.60 of this customer in 30 days, usual is EUR 2.00",
        "customer_maximum_30d": "largest amount EUR 310.50 of this customer in 30 days, usual is EUR 2.00",
        "customer_terminals_7d": "5 different terminals of this customer in 7 days, usual is 2",
        "customer_seconds_since_last": (
            "0.8 seconds since this customer's last transaction, this customer's usual is 20 hours"
        ),
        "amount_to_mean_1d": "amount 1.4 times this customer's 24-hour mean",
        "amount_to_mean_7d": "amount 3 times this customer's 7-day mean",
        "amount_to_mean_30d": "amount 5.2 times this customer's 30-day mean",
        "amount_to_maximum_30d": "amount 0.97 times this customer's 30-day maximum",
        "count_1d_to_30d": "19 % of this customer's transactions of 30 days lie in the last 24 hours",
        "terminal_count_1d": "3 transactions in 24 hours, this terminal's usual is 3",
        "terminal_count_7d": "21 transactions of this terminal in 7 days, usual is 2",
        "terminal_fraud_rate_1d": (
            "none of this terminal's transactions in the 24 hours before the last 7 days was fraud, "
            "this terminal's usual is 3.1 %"
        ),
        "terminal_fraud_rate_7d": (
            "41 % of this terminal's transactions in the week before last were fraud, this terminal's usual is 3.1 %"
        ),
        "terminal_fraud_rate_30d": (
            "3.1 % of this terminal's transactions in the 30 days before the last 7 days were fraud, usual is 200 %"
        ),
        "terminal_known_7d": "20 transactions in the week before last, this terminal's usual is 28",
        "terminal_known_30d": "112 transactions of this terminal in the 30 days before the last 7 days, usual is 2",
        "terminal_mean_before": (
            "mean amount EUR 12.50 of this terminal in the 24 hours before the last 7 days, usual is EUR 2.00"
        ),
        "amount_to_before": "amount 24 times this terminal's mean in the 24 hours before the last 7 days",
    }


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("customer_count_30d", {"customer_count_30d": 1}, "first transaction of this customer in 30 days"),
        (
            "customer_seconds_since_last",
            USUAL | {"customer_seconds_since_last": np.nan},
            "first transaction of this customer in 30 days",
        ),
        ("amount_to_maximum_30d", {"amount": 9, "customer_maximum_30d": 9}, "amount is this customer's 30-day maximum"),
        ("amount_to_mean_30d", {"amount": 9, "customer_mean_30d": 9}, "amount equal to this customer's 30-day mean"),
        (
            "amount_to_mean_30d",
            {"amount": 9, "customer_mean_30d": 0},
            "amount EUR 9.00, this customer's 30-day mean EUR 0.00",
        ),
        (
            "customer_count_1d",
            {"customer_count_1d": 4, "customer_count_30d": 4},
            "4 transactions in 24 hours, nothing else of this customer in 30 days",
        ),
        (
            "terminal_known_7d",
            {"terminal_known_7d": 0, "terminal_known_30d": 0},
            "no transaction in the week before last, "
            "nothing else of this terminal in the 30 days before the last 7 days",
        ),
        (
            "terminal_known_30d",
            {"terminal_known_30d": 1},
            "1 transaction of this terminal in the 30 days before the last 7 days, usual is 2",
        ),
        ("customer_terminals_7d", {"customer_terminals_7d": 1}, "1 terminal of this customer in 7 days, usual is 2"),
        (
            "terminal_fraud_rate_7d",
            {"terminal_fraud_rate_7d": 0.0004},
            "less than 0.1 % of this terminal's transactions in the week before last were fraud, usual is 200 %",
        ),
    ],
)
def test_what_is_out_of_the_ordinary(name: str, values: dict[str, float], expected: str) -> None:
    assert said_of(CARDS, **values)[name] == expected


def test_a_missing_key_is_told_from_a_first_transaction() -> None:
    found = said_of(EVERY, gap=np.nan, rate=np.nan, count_1h=3.0)
    assert found["gap"] == found["rate"] == found["most"] == found["risky"] == "no web shop is named"
    assert said_of(EVERY, rate=0.0, risky=0.0)["gap"] == "first transaction of this web shop in 45 seconds"
    known = said_of(EVERY, count_1h=3.0, count_9h=3.0, many=2.0, countries=0.0, known=0.0)
    assert known["far"] == "no distance of this card known in 90 minutes"


def test_tests_say_what_they_found_and_what_is_made_of_history_says_what_it_is_made_of() -> None:
    found = said_of(
        EVERY, median=3.0, amount=1_999.0, **dict.fromkeys(set(EVERY.raw_fields) - {"amount", "country"}, 6.0)
    )
    assert found["many"] == "6 transactions of this card in 24 hours (above 5)"
    assert found["quick"] == (
        "6 seconds since this card's last transaction, this card's usual is 4 hours (between 0 seconds and 1.5 minutes)"
    )
    assert found["risky"] == "600 % of this web shop's transactions in the week before last were fraud (above 5 %)"
    assert found["log_many"] == found["count_1h"] + " (logarithm not above 2)"
    assert found["log_count"] == found["count_1h"] == "6 transactions in 1 hour, nothing else of this card in 24 hours"
    assert found["much"] == (
        "sum of amount EUR 0.06 in 24 hours, nothing else of this card in 10 days (not above EUR 1,000.00)"
    )
    assert found["far"] == "mean distance 6 km of this card in 90 minutes, usual is 3 km"
    assert found["share"] == "100 % of this card's amount of 10 days lies in the last 24 hours"
    assert found["to_mean"] == "amount 333 times this card's 10-day mean"
    assert found["to_rate"] == (
        "this web shop's share of frauds in the 12 hours before the last 3 days "
        "equal to the time since this web shop's last transaction"
    )
    assert found["to_log"].endswith(" (above 3)")


def test_every_operator_of_history_has_a_sentence() -> None:
    assert set(_SENTENCES) == set(HISTORY_OPERATORS)
    assert {each.operator for each in EVERY.features} | {"one_hot"} == set(OPERATORS)


numbers = st.one_of(
    st.just(np.nan),
    st.sampled_from([0.0, -0.0, 1.0, 1e-300, -1e-9, 1e15, -1e15, 2.0**43, 0.005]),
    st.floats(-1e15, 1e15),
)


@given(st.lists(numbers, min_size=len(EVERY.raw_fields), max_size=len(EVERY.raw_fields)), st.floats(-1e15, 1e15))
def test_missing_and_extreme_values_have_a_sentence(values: list[float], median: float) -> None:
    given_values: dict[str, Any] = dict(zip(EVERY.raw_fields, values, strict=True)) | {"country": 1.0}
    found = said_of(EVERY, median, **given_values)
    assert {name for name, said in found.items() if said} == set(OF_HISTORY)
    for said in filter(None, found.values()):
        assert "nan" not in said.lower()
        assert "inf" not in said.lower()
        assert "e+" not in said
        assert "_" not in said
        assert len(said) < 250
    assert found == said_of(EVERY, median, **given_values)


def test_the_public_table_has_no_sentences() -> None:
    assert contract_named() == CREDITCARD
    assert set(said_of(CREDITCARD, **dict.fromkeys(CREDITCARD.raw_fields, 1.0)).values()) == {None}


def test_quantities() -> None:
    assert [number(each) for each in (0, 0.234, 5.23, 57.16, 99.7, 1_239.6, 1.24e6, 3.4e9, 2e12, -1e16, 1e-7)] == [
        *("0", "0.23", "5.2", "57", "100", "1,240", "1.24 million", "3.4 billion", "2 trillion"),
        *("-over 1,000 trillion", "less than 0.0001"),
    ]
    assert [percent(each) for each in (0, 0.0004, 0.0041, 0.04, 0.414, 0.996, 0.99996, 1)] == [
        *("0 %", "less than 0.1 %", "0.4 %", "4 %", "41 %", "99.6 %", "99.9 %", "100 %"),
    ]
    assert [span(each) for each in (0, 0.8, 1, 59, 60, 90, 7_200, 86_400, 172_800, 1e6)] == [
        *("0 seconds", "0.8 seconds", "1 second", "59 seconds", "1 minute", "1.5 minutes"),
        *("2 hours", "24 hours", "2 days", "12 days"),
    ]
    assert [plural(each) for each in ("terminal", "country", "address", "day", "box")] == [
        *("terminals", "countries", "addresses", "days", "boxes"),
    ]
    fields = {field.name: field for field in EVERY.fields}
    assert in_unit(fields["amount"], 5_716) == "EUR 57.16"
    assert in_unit(fields["distance"], 12_345.6) == "12,346 km"
    assert in_unit(fields["amount"].model_copy(update={"unit": "JPY", "decimals": 0}), 5_716) == "JPY 5,716"
