import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset, span_in_days
from tests.support.creditcard import CREDITCARD, EVENT_TIME, RAW_FEATURES, WEIGHT


def assert_same(first: Dataset, second: Dataset) -> None:
    for name in ("raw", "label", "weight", "moment"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_rows_are_ordered_by_time_and_ties_keep_their_order(simulated_frame: pd.DataFrame):
    frame = simulated_frame.assign(Time=np.arange(500) % 3, Amount=np.arange(500.0))
    data = Dataset.from_frame(frame, CREDITCARD)
    expected = [i for second in range(3) for i in range(500) if i % 3 == second]
    assert data.amount.tolist() == expected
    np.testing.assert_array_equal(data.label, frame["Class"].to_numpy()[expected])


def test_event_time_goes_before_time(simulated_frame: pd.DataFrame):
    times = pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC")[::-1]
    data = Dataset.from_frame(simulated_frame.assign(**{EVENT_TIME: times}), CREDITCARD)
    np.testing.assert_array_equal(data.raw, simulated_frame[list(RAW_FEATURES)].to_numpy()[::-1])
    assert data.moment[0] == pd.Timestamp("2024-01-01", tz="UTC").timestamp()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_event_time_is_in_seconds_whatever_its_resolution(simulated_frame: pd.DataFrame, unit: str):
    times = pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC").as_unit(unit)
    data = Dataset.from_frame(simulated_frame.assign(**{EVENT_TIME: times}), CREDITCARD)
    assert data.days == pytest.approx(499 / 24)
    assert data.moment[1] == 1_704_067_200 + 3600


def test_weights_default_to_one(simulated_frame: pd.DataFrame):
    assert (Dataset.from_frame(simulated_frame, CREDITCARD).weight == 1).all()
    assert (Dataset.from_frame(simulated_frame.assign(**{WEIGHT: 2.5}), CREDITCARD).weight == 2.5).all()


def test_frame_round_trip(transactions: Dataset):
    assert EVENT_TIME not in transactions.to_frame()
    assert_same(Dataset.from_frame(transactions.to_frame(), CREDITCARD), transactions)


@given(st.lists(st.integers(0, 2**31 * 1000), min_size=1, max_size=20))
def test_frame_round_trip_keeps_event_times(milliseconds: list[int]):
    n = len(milliseconds)
    moment = np.sort(np.array(milliseconds) / 1000)
    data = Dataset(CREDITCARD, np.ones((n, 30)), np.zeros(n, np.int8), np.ones(n), moment)
    again = Dataset.from_frame(data.to_frame(), CREDITCARD)
    np.testing.assert_allclose(again.moment, moment, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.diff(again.moment) > 0, np.diff(moment) > 0)


def test_take_and_counts(transactions: Dataset):
    assert len(transactions) == 4_000
    frauds = transactions.take(transactions.label == 1)
    assert len(frauds) == frauds.frauds == transactions.frauds
    np.testing.assert_array_equal(frauds.amount, transactions.raw[transactions.label == 1, 29])


def test_span_is_at_least_a_minute():
    assert span_in_days(5.0, 5.0) == 60 / 86_400
    assert span_in_days(0.0, 43_200.0) == 0.5


def test_entities_are_numbers_that_follow_their_rows() -> None:
    cards = contract_named("cards")
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-02", "2026-01-01", "2026-01-03"], utc=True),
            "customer": ["b", "a", "b"],
            "amount": [1.0, 2.0, 3.0],
            "fraud": [0, 1, 0],
        }
    )
    frame = frame.assign(**{feature.name: 0.0 for feature in cards.history})
    data = Dataset.from_frame(frame.assign(terminal=["x", None, "y"]), cards)
    assert {name: codes.tolist() for name, codes in data.entities.items()} == {
        "customer": [1, 0, 0],
        "terminal": [-1, 0, 1],
    }
    kept = data.take(np.array([0, 2]))
    assert kept.entities["customer"].tolist() == [1, 0]
    again = Dataset.from_frame(kept.to_frame(), cards)
    assert {name: codes.tolist() for name, codes in again.entities.items()} == {
        "customer": [0, 1],
        "terminal": [-1, 0],
    }
    assert Dataset.from_frame(frame, cards).entities.keys() == {"customer"}
