"""History by its definition, one transaction after the other, against `compute_history`; and a published table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from ml_project.cleaning import clean
from ml_project.contract import Contract
from ml_project.contract_file import InvalidContract, contract_named, parse_contract
from ml_project.dataset import events_of, with_history
from ml_project.history import LARGEST_MINOR, MICROSECONDS, compute_history, minor_digits, minor_units
from tests.support.history import HISTORY, by_definition
from tests.support.machine import HANDBOOK_EVENTS, HANDBOOK_FEATURES, missing

CONTRACT = parse_contract(HISTORY.encode(), "history.yaml")
CARDS = contract_named("cards")


@st.composite
def tables(draw: DrawFn) -> pd.DataFrame:
    count = draw(st.integers(1, 40))

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=count, max_size=count))

    moments = st.integers(0, 24) | st.integers(0, 24_000_000).map(lambda each: each / MICROSECONDS)
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(
                np.round(np.array(column(moments), float) * 1e6).astype(np.int64), unit="us", utc=True
            ),
            "card": column(st.sampled_from("abc")),
            "shop": pd.Series(column(st.sampled_from(["x", "y", None])), dtype=object),
            "amount": np.array(column(st.integers(-1_000, 100_000)), float) / 100,
            "points": np.array(column(st.none() | st.integers(-5, 5)), float),
            "distance": np.array(column(st.none() | st.floats(-1e7, 1e7)), float),
            "fraud": np.array(column(st.integers(0, 1)), np.int8),
        }
    )
    return frame.sort_values("at", kind="stable", ignore_index=True)


@given(tables())
@settings(max_examples=150, deadline=None)
def test_a_table_has_what_its_definition_says(frame: pd.DataFrame) -> None:
    found = compute_history(CONTRACT, events_of(frame, CONTRACT))
    np.testing.assert_array_equal(found, by_definition(CONTRACT, frame))


def test_the_order_of_rows_tells_which_of_one_moment_came_first() -> None:
    frame = _cards(["2026-01-01T00:00:00Z"] * 2 + ["2025-12-31T23:59:59Z"], customer=["1"] * 3)
    found = with_history(frame, CARDS)
    assert found["customer_count_1d"].tolist() == [2, 3, 1]
    assert found["customer_seconds_since_last"].fillna(-1).tolist() == [1, 0, -1]


def test_a_window_begins_after_its_edge_whatever_the_year() -> None:
    """29 February lies in it like any day; the first transaction ever is alone."""
    times = ["1970-01-01T00:00:00Z", "2024-02-28T12:00:00Z", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000001Z"]
    found = with_history(_cards(times, customer=["1"] * 4), CARDS)
    assert found["customer_count_1d"].tolist() == [1, 1, 1, 2]
    assert found["customer_count_7d"].tolist() == [1, 1, 2, 3]


def test_whatever_lies_between_two_times_fits_into_64_bits() -> None:
    """Centuries in microseconds, and more keys than one number holds beside them."""
    keys = 50_000
    times = pd.to_datetime(["1700-01-01", "2200-01-01"] * keys, utc=True)
    frame = _cards(times, customer=[str(place // 2) for place in range(2 * keys)])
    found = with_history(frame, CARDS)
    assert (found["customer_count_30d"] == 1).all()
    assert found["customer_seconds_since_last"].isna().all()


def test_sums_are_made_of_whole_minor_units() -> None:
    fields = {field.name: field for field in CONTRACT.fields}
    assert [minor_digits(fields[name]) for name in ("amount", "points", "distance")] == [2, 0, 6]
    assert minor_units(fields["amount"], np.array([0.1, 0.29, 1.005, -2.5, np.nan, 1e15])).tolist() == [
        *(10, 29, 100, -250, 0),
        LARGEST_MINOR,
    ]
    yen, dinar = (fields["amount"].model_validate({**fields["amount"].model_dump(), "unit": u}) for u in ("JPY", "KWD"))
    assert (minor_digits(yen), minor_digits(dinar)) == (0, 3)
    tenths = with_history(_cards(["2026-01-01T00:00:00Z"] * 3, amount=[0.1, 0.2, 0.3]), CARDS)
    assert tenths["customer_mean_7d"].tolist() == [0.1, 0.15, 0.2]


def test_a_feature_of_history_is_a_raw_field_that_nobody_gives() -> None:
    assert CONTRACT.given_names == ("amount", "points", "distance")
    assert CONTRACT.raw_fields[3:] == tuple(feature.name for feature in CONTRACT.history)
    assert set(CONTRACT.raw_fields[3:]) <= set(CONTRACT.engineered)
    assert Contract.model_validate(CONTRACT.to_dict()) == CONTRACT
    assert CONTRACT.features[-1].words == "to_mean"
    assert (
        CONTRACT.features[9].words
        == "share of frauds among the transactions of this shop in 5 seconds ending 2 seconds before"
    )


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ("{count: {by: amount, window: 7d}}", "amount is not an entity"),
        ("{count: {by: card}}", "count without an entity or a window"),
        ("{count: card}", "count without an entity or a window"),
        ("{count: {of: amount, by: card, window: 7d}}", "count takes 0 fields, not 1"),
        ("{mean: {by: card, window: 7d}}", "mean takes 1 fields, not 0"),
        (
            "{mean: {of: shop, by: card, window: 7d}}",
            "mean takes a field of type number or integer, and shop is a string",
        ),
        ("{mean: {of: nothing, by: card, window: 7d}}", "nothing is not a field"),
        ("{distinct: {of: shop, by: card, window: 7d, delay: 1d}}", "delay for distinct"),
        ("{maximum: {of: amount, by: card, window: 7d, delay: 1d}}", "delay for maximum"),
        ("{count: {by: card, window: 500d}}", "window: Input should be less than or equal to"),
        ("{count: {by: card, window: soon}}", "window: Input should be a valid integer"),
        ("{count: {by: card, window: 7d, size: 2}}", "size: unknown key"),
        ("{value: amount, by: card}", "2 operators, not one"),
        ("{ratio: [amount, many]}", "many says 1 or 0"),
    ],
)
def test_what_no_feature_of_history_can_mean_is_said(feature: str, said: str) -> None:
    with pytest.raises(InvalidContract) as raised:
        parse_contract(f"{HISTORY}  asked: {feature}\n".encode(), "history.yaml")
    assert said in raised.value.lines[0]
    assert "line 26" in raised.value.lines[0]


def test_history_needs_an_event_time() -> None:
    text = HISTORY.replace(
        "at: {type: timestamp, role: event_time}", "at: {type: timestamp, role: event_time, required: false}"
    )
    with pytest.raises(InvalidContract, match="history without an event time"):
        parse_contract(text.encode(), "history.yaml")


@pytest.fixture(scope="module")
def published() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The handbook's transactions, and the features that its authors made of them."""
    paths = HANDBOOK_EVENTS, HANDBOOK_FEATURES
    for path in paths:
        if not path.is_file():
            missing(str(path))
    events, features = map(pd.read_parquet, paths)
    features = features.set_index("TRANSACTION_ID")
    table = pd.DataFrame(
        {
            "transaction": events["TRANSACTION_ID"],
            "at": events["TX_DATETIME"].dt.tz_localize("UTC"),
            "customer": events["CUSTOMER_ID"],
            "terminal": events["TERMINAL_ID"],
            "amount": events["TX_AMOUNT"],
            "fraud": events["TX_FRAUD"],
        }
    )
    return table, features


@pytest.mark.slow
def test_the_published_features_of_the_handbook_are_reproduced(
    published: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    """But for transactions of one customer in one second, which its authors' sorting left in no order."""
    table, theirs = published
    together = table.duplicated(["customer", "at"], keep=False)
    tied = table.loc[together, "transaction"]
    ours = with_history(table, CARDS).set_index("transaction").loc[theirs.index]
    told = ~ours.index.isin(tied)
    assert told.mean() > 0.9999
    for days in (1, 7, 30):
        counts, known = ours[f"customer_count_{days}d"], ours[f"terminal_known_{days}d"]
        np.testing.assert_array_equal(counts[told], theirs[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"][told])
        np.testing.assert_array_equal(known, theirs[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"])
        if days > 1:  # no feature of the contract is a mean of one day
            mean = ours[f"customer_mean_{days}d"] - theirs[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"]
            assert mean[told].abs().max() < 1e-9
        difference = ours[f"terminal_fraud_rate_{days}d"] - theirs[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"]
        assert difference.abs().max() < 1e-9


def _cards(times: object, **columns: object) -> pd.DataFrame:
    at = pd.to_datetime(times, utc=True, format="ISO8601")
    frame = pd.DataFrame({"at": at, "customer": "1", "terminal": "1", "amount": 10.0, "fraud": 0})
    return frame.assign(**columns)


def test_a_transaction_with_an_unknown_label_is_part_of_what_others_had_before() -> None:
    text = HISTORY.replace("label: {field: fraud}", 'label: {field: fraud, positive: 1, negative: 0, unknown: [""]}')
    contract = parse_contract(text.encode(), "history.yaml")
    frame = pd.DataFrame(
        {
            "at": [f"2026-01-01T00:00:0{second}Z" for second in (2, 1, 0)],
            "card": "a",
            "amount": [4.0, 2.0, 1.0],
            "fraud": ["0", None, "1"],
        }
    )
    table, report = clean(frame, contract)
    assert (report.rows_out, report.unlabelled_dropped, report.duplicates_dropped) == (2, 1, 0)
    assert table["card_sum"].tolist() == [1, 7]
    assert table["shop_count"].isna().all()
