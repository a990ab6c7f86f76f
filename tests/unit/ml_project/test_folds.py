from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ml_project.dataset import Dataset
from ml_project.ensemble import EnsembleSettings, fit_ensemble
from ml_project.features import AmountStatistics, compute_features
from ml_project.folds import PreparedFold, thin
from ml_project.split import Fold, TimeSplit


@pytest.fixture(scope="module")
def fold(split: TimeSplit) -> Fold:
    return Fold(split.train, split.validation)


@pytest.fixture(scope="module")
def prepared(fold: Fold, small_settings: EnsembleSettings) -> PreparedFold:
    return PreparedFold.prepare(fold, small_settings.excluded, seed=4, threads=1)


@given(st.integers(1, 5_000), st.integers(0, 100))
def test_thinning_keeps_frauds_totals_and_order(transactions: Dataset, rows: int, seed: int):
    thinned = thin(transactions, rows, seed)
    assert thinned.frauds == transactions.frauds
    assert len(thinned) - thinned.frauds == min(rows, len(transactions) - transactions.frauds)
    for label in (0, 1):
        before, after = (d.weight[d.label == label].sum() for d in (transactions, thinned))
        assert after == pytest.approx(before)
    np.testing.assert_array_equal(thinned.weight[thinned.label == 1], 1.0)
    assert (np.diff(thinned.moment) >= 0).all()
    # every row is one of the original's, its label with it
    original = set(zip(map(bytes, transactions.raw), transactions.label.tolist(), strict=True))
    assert set(zip(map(bytes, thinned.raw), thinned.label.tolist(), strict=True)) <= original


def test_thinning_is_seeded(transactions: Dataset):
    first, same, other = (thin(transactions, 500, seed).raw for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def from_scratch(fold: Fold, settings: EnsembleSettings) -> np.ndarray:
    amount = AmountStatistics.fit(fold.past.amount, fold.past.weight)
    past, future = (compute_features(data.raw, amount) for data in (fold.past, fold.future))
    return fit_ensemble(past, fold.past.label, fold.past.weight, settings, seed=4).hybrid(future)


def test_average_precision_equals_a_fit_from_scratch(
    prepared: PreparedFold, fold: Fold, small_settings: EnsembleSettings
):
    expected = from_scratch(fold, small_settings)
    np.testing.assert_array_equal(prepared.hybrid(small_settings), expected)
    found = prepared.average_precision(small_settings)
    assert found == pytest.approx(
        average_precision_score(fold.future.label, expected, sample_weight=fold.future.weight)
    )


def test_trials_do_not_disturb_each_other(prepared: PreparedFold, fold: Fold, small_settings: EnsembleSettings):
    def other(**changes: object) -> EnsembleSettings:
        return EnsembleSettings(**{**small_settings.__dict__, **changes})

    trials = [
        other(blend_weight=0.9),
        other(forest=type(small_settings.forest)(5, 32)),
        other(booster=type(small_settings.booster)(rounds=3, monotone_auc=1.0)),
        other(booster=type(small_settings.booster)(rounds=3, scale_pos_weight=1.0)),
        small_settings,
    ]
    for settings in trials:
        np.testing.assert_array_equal(prepared.hybrid(settings), from_scratch(fold, settings))


def test_amount_statistics_are_those_of_the_past(fold: Fold, small_settings: EnsembleSettings):
    settings = replace(small_settings, excluded=())
    prepared = PreparedFold.prepare(fold, (), seed=4, threads=1)
    np.testing.assert_array_equal(prepared.hybrid(settings), from_scratch(fold, settings))
    richer = Fold(fold.past, replace(fold.future, raw=fold.future.raw * np.where(np.arange(30) == 29, 3.0, 1.0)))
    other = PreparedFold.prepare(richer, (), seed=4, threads=1)
    np.testing.assert_array_equal(other.past, prepared.past)


def test_the_future_does_not_reach_the_fit(prepared: PreparedFold, fold: Fold, small_settings: EnsembleSettings):
    raw = fold.future.raw.copy()
    raw[10:] = raw[:1] * 50
    future = Dataset(raw, 1 - fold.future.label, fold.future.weight, fold.future.moment)
    other = PreparedFold.prepare(Fold(fold.past, future), small_settings.excluded, seed=4, threads=1)
    np.testing.assert_array_equal(other.hybrid(small_settings)[:10], prepared.hybrid(small_settings)[:10])
