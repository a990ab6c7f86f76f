"""The simulated world against its published description, and against what its authors made by it."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest

from ml_project.errors import InvalidInput
from ml_project.simulator_cards import COLUMNS, CardWorld, simulate_cards

WORLD = CardWorld(customers=1_000, terminals=2_000, days=60, radius=11, terminals_per_day=0.4, customers_per_day=0.6)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.concat(simulate_cards(WORLD, seed=7), ignore_index=True)


def test_equal_arguments_give_equal_rows_day_by_day() -> None:
    for one, other in islice(zip(simulate_cards(WORLD, seed=7), simulate_cards(WORLD, seed=7), strict=True), 3):
        pd.testing.assert_frame_equal(one, other)
        assert one["at"].dt.floor("D").nunique() == 1
    first, other = next(simulate_cards(WORLD, seed=7)), next(simulate_cards(WORLD, seed=8))
    assert not first["amount"].head(50).equals(other["amount"].head(50))


def test_a_longer_world_begins_like_a_shorter_one(table: pd.DataFrame) -> None:
    longer = CardWorld(**{**vars(WORLD), "days": 70})
    begun = pd.concat(islice(simulate_cards(longer, seed=7), WORLD.days), ignore_index=True)
    pd.testing.assert_frame_equal(begun, table)


def test_rows_are_those_of_the_contract(table: pd.DataFrame) -> None:
    assert tuple(table.columns) == COLUMNS
    assert table["transaction"].is_unique
    assert table["at"].is_monotonic_increasing
    assert (table["at"].iloc[0] - pd.Timestamp(WORLD.first_day, tz="UTC")).days == 0
    assert all(isinstance(each, str) for each in table[["transaction", "customer", "terminal"]].iloc[0])
    assert (table["amount"] >= 0).all()
    np.testing.assert_array_equal(table["amount"], table["amount"].round(2))
    assert set(table["fraud"]) == {0, 1}


def test_habits_are_as_published(table: pd.DataFrame) -> None:
    """Tolerances: about four standard errors of each figure."""
    per_day = table.groupby("customer").size() / WORLD.days
    assert len(table) / WORLD.days / WORLD.customers == pytest.approx(2 * 0.969, abs=0.16)
    assert per_day.max() < 4 * 0.969 * 1.25
    seconds = (table["at"] - table["at"].dt.floor("D")).dt.total_seconds()
    assert seconds.mean() == pytest.approx(43_200, abs=300)
    assert seconds.std() == pytest.approx(18_400, abs=300)  # 20,000 without what lies in other days
    honest = table[table["fraud"] == 0]
    of_customer = honest.groupby("customer")["amount"].agg(["mean", "std", "size"])
    of_customer = of_customer[of_customer["size"] >= 60]
    assert of_customer["mean"].between(3, 130).all()
    # A redraw between 0 and twice the mean in place of 2.3 % of normal ones: 0.49 of the mean.
    assert (of_customer["std"] / of_customer["mean"]).median() == pytest.approx(0.47, abs=0.03)
    near = table.groupby("customer")["terminal"].nunique()
    assert near.max() < 2_000 * np.pi * 11**2 / 100**2 * 1.6


def test_frauds_are_of_the_three_published_kinds(table: pd.DataFrame) -> None:
    assert (table.loc[table["amount"] > 220.01, "fraud"] == 1).all()
    hidden = table[(table["fraud"] == 1) & (table["amount"] <= 220)]
    by_terminal = hidden.groupby("terminal").size()
    taken = by_terminal.index[by_terminal >= 8]
    assert 10 <= len(taken) <= 40
    for _terminal, there in table[table["terminal"].isin(taken)].groupby("terminal"):
        runs = there[there["fraud"] == 1].groupby((there["fraud"] == 0).cumsum())["at"].agg(["min", "max", "size"])
        begin, end, size = runs.loc[runs["size"].idxmax()]
        assert size >= 6, "all of its transactions are frauds, one after the other"
        assert (end - begin).days < 56, "28 days, unless it was taken over twice"
    elsewhere = hidden[~hidden["terminal"].isin(by_terminal.index[by_terminal >= 3])]
    usual = table[table["fraud"] == 0].groupby("customer")["amount"].mean()
    times = elsewhere["amount"] / elsewhere["customer"].map(usual)
    assert times.median() > 3


def test_the_published_numbers_of_customers_and_days_give_the_published_numbers() -> None:
    """1,504,628 transactions and 12,484 frauds of 157 days, which another random generator made."""
    count = sum(len(day) for day in islice(simulate_cards(CardWorld(), seed=1), 4))
    assert count == pytest.approx(1_504_628 / 157 * 4, rel=0.05)
    world = CardWorld.of_rows(60_000)
    table = pd.concat(simulate_cards(world, seed=3))
    assert len(table) == pytest.approx(60_000, rel=0.15)
    assert table["fraud"].mean() == pytest.approx(12_484 / 1_504_628, rel=0.5)
    with pytest.raises(InvalidInput, match="fewer than a customer's"):
        CardWorld.of_rows(50)
