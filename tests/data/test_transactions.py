"""What data must be before anybody trains on them. ``pytest tests/data --ingested`` asks the ingested ones."""

import numpy as np
import pandas as pd

from ml_project.dataset import Dataset
from ml_project.operators import SECONDS_PER_DAY
from ml_project.split import MIN_FRAUDS, forward_folds, split_by_time
from tests.support.creditcard import CREDITCARD, EVENT_TIME, LABEL, PCA_COMPONENTS, RAW_FEATURES, WEIGHT


def test_every_field_is_there_and_finite(transactions: pd.DataFrame) -> None:
    assert list(transactions.columns[:30]) == list(RAW_FEATURES)
    assert {LABEL, WEIGHT} <= set(transactions.columns)
    assert np.isfinite(transactions[[*RAW_FEATURES, LABEL, WEIGHT]].to_numpy(dtype=float)).all()


def test_values_lie_in_their_ranges(transactions: pd.DataFrame) -> None:
    assert set(transactions[LABEL].unique()) == {0, 1}
    assert transactions["Time"].min() >= 0
    assert transactions["Amount"].between(0, 1e6).all()
    assert (transactions[WEIGHT] > 0).all()
    assert transactions[list(PCA_COMPONENTS)].abs().max(axis=None) < 1_000


def test_no_transaction_stands_twice(transactions: pd.DataFrame) -> None:
    assert transactions.drop(columns=WEIGHT).duplicated().sum() == 0


def test_they_stand_in_the_order_of_time(transactions: pd.DataFrame) -> None:
    order = EVENT_TIME if EVENT_TIME in transactions else "Time"
    assert transactions[order].is_monotonic_increasing
    assert Dataset.from_frame(transactions, CREDITCARD).days > 3600 / SECONDS_PER_DAY


def test_fraud_is_rare_but_not_absent(transactions: pd.DataFrame) -> None:
    rate = float(np.average(transactions[LABEL], weights=transactions[WEIGHT]))
    assert 0.0002 < rate < 0.05


def test_the_components_are_centred(transactions: pd.DataFrame) -> None:
    means = np.average(transactions[list(PCA_COMPONENTS)], axis=0, weights=transactions[WEIGHT])
    assert np.abs(means).max() < 0.5


def test_no_field_alone_gives_the_label_away(transactions: pd.DataFrame) -> None:
    """A feature that separates the classes without error is a leak of the label, not a find."""
    frauds, others = (transactions.loc[transactions[LABEL] == label, list(RAW_FEATURES)] for label in (1, 0))
    apart = (frauds.min() > others.max()) | (frauds.max() < others.min())
    assert list(apart[apart].index) == []


def test_there_is_enough_fraud_for_every_part(transactions: pd.DataFrame) -> None:
    data = Dataset.from_frame(transactions, CREDITCARD)
    split = split_by_time(data)
    assert min(part.frauds for part in (split.train, split.validation, split.test)) >= MIN_FRAUDS
    assert split.train.moment[-1] < split.validation.moment[0]
    assert split.validation.moment[-1] < split.test.moment[0]
    assert len(forward_folds(split.train, 3)) == 3
