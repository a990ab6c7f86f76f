from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ml_project.bundle import BOOSTER_FILE, MANIFEST_FILE, ONNX_FILE
from ml_project.calibration import fit_calibrator
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings, fit_ensemble
from ml_project.features import FeatureTransform
from ml_project.fitting import GOLDEN_ROWS, Fitted, PreparedFold, fit_refit, fit_twin, parity, thin
from ml_project.scorer import Scorer
from ml_project.split import Fold, TimeSplit, forward_folds
from ml_project.statistics import Histogram
from tests.support.creditcard import CREDITCARD, LEFT_OUT

ENGINE = LocalEngine(seed=1)


def spoiled(data: Dataset) -> Dataset:
    return Dataset(CREDITCARD, data.raw * 1.5 + 1, 1 - data.label, data.weight * 7, data.moment)


def relabelled(data: Dataset, rows: int) -> Dataset:
    label = data.label.copy()
    label[:rows] = 1 - label[:rows]
    return replace(data, label=label)


@pytest.fixture(scope="module")
def folds_heard() -> list[int]:
    return []


@pytest.fixture(scope="module")
def refit(
    transactions: Dataset, small_settings: EnsembleSettings, origin: dict[str, Any], folds_heard: list[int]
) -> Fitted:
    return fit_refit(transactions, small_settings, ENGINE, origin, folds_heard.append)


def test_same_inputs_same_digest(twin: Fitted, split: TimeSplit, small_settings: EnsembleSettings, origin):
    assert fit_twin(split, small_settings, ENGINE, origin).bundle.digest == twin.bundle.digest
    assert fit_twin(split, small_settings, LocalEngine(seed=2), origin).bundle.digest != twin.bundle.digest


def test_twin_never_sees_test_rows(twin: Fitted, split: TimeSplit, small_settings: EnsembleSettings, origin):
    other = fit_twin(replace(split, test=spoiled(split.test)), small_settings, ENGINE, origin)
    assert other.bundle.digest == twin.bundle.digest


def test_validation_labels_change_calibration_only(
    twin: Fitted, split: TimeSplit, small_settings: EnsembleSettings, origin
):
    changed = replace(split, validation=relabelled(split.validation, 20))
    other = fit_twin(changed, small_settings, ENGINE, origin)
    differing = {name for name in twin.bundle.files if twin.bundle.files[name] != other.bundle.files[name]}
    assert differing == {ONNX_FILE, MANIFEST_FILE}
    assert other.calibrator != twin.calibrator
    np.testing.assert_array_equal(other.score(split.test).hybrid, twin.score(split.test).hybrid)
    first, second = (fitted.bundle.manifest.model_dump() for fitted in (twin, other))
    assert [name for name in first if first[name] != second[name]] == ["golden_rows"]


def test_validation_rows_change_neither_trees_nor_statistics(
    twin: Fitted, split: TimeSplit, small_settings: EnsembleSettings, origin
):
    other = fit_twin(replace(split, validation=spoiled(split.validation)), small_settings, ENGINE, origin)
    assert other.bundle.files[BOOSTER_FILE] == twin.bundle.files[BOOSTER_FILE]
    first, second = twin.bundle.manifest, other.bundle.manifest
    assert (second.statistics, second.scales) == (first.statistics, first.scales)
    np.testing.assert_array_equal(other.score(split.test).hybrid, twin.score(split.test).hybrid)


def test_manifest_of_the_twin(twin: Fitted, split: TimeSplit, small_settings: EnsembleSettings):
    manifest = twin.bundle.manifest
    assert manifest.data == {
        "source": "simulated",
        "digest": "0" * 64,
        "role": "twin",
        "rows": len(split.train),
        "frauds": split.train.frauds,
        "seen_until": float(split.validation.moment[-1]),
    }
    assert manifest.contract == CREDITCARD
    assert manifest.settings == asdict(small_settings.resolved(CREDITCARD))
    assert manifest.transform == FeatureTransform.fit(CREDITCARD, split.train.raw, split.train.weight)
    assert (manifest.policy, manifest.policies) == ("", {})
    assert set(manifest.libraries) == {"numpy", "onnx", "onnxruntime", "scikit-learn", "xgboost", "python"}
    unseen = twin.score(split.validation)
    np.testing.assert_array_equal(twin.unseen.hybrid, unseen.hybrid)
    assert manifest.score_baseline == Histogram.fit(unseen.hybrid, split.validation.weight)
    assert twin.calibrator == fit_calibrator(unseen.hybrid, split.validation.label, split.validation.weight)


def test_golden_rows_are_training_rows_of_both_classes_over_the_whole_range(twin: Fitted, split: TimeSplit):
    golden = twin.bundle.manifest.golden_rows
    assert len(golden) == GOLDEN_ROWS
    train = {tuple(raw): label for raw, label in zip(split.train.raw.tolist(), split.train.label, strict=True)}
    assert sum(int(train[row.raw]) for row in golden) == GOLDEN_ROWS // 2
    scores = [row.scores["hybrid_score"] for row in golden]
    everything = twin.score(split.train).hybrid
    assert (min(scores), max(scores)) == pytest.approx((everything.min(), everything.max()), abs=1e-5)
    assert Scorer(twin.bundle, threads=1).replay_golden_rows() <= 1e-7


def test_parity_is_small_and_sees_another_calibration(twin: Fitted, split: TimeSplit):
    assert 0 <= parity(twin, split.test) <= 1e-5
    moved = replace(twin, calibrator=replace(twin.calibrator, intercept=twin.calibrator.intercept + 0.1))
    assert parity(moved, split.test) > 1e-3


def test_refit_sees_all_rows(refit: Fitted, transactions: Dataset, folds_heard: list[int]):
    manifest = refit.bundle.manifest
    assert manifest.data["role"] == "refit"
    assert manifest.data["rows"] == len(transactions)
    assert manifest.data["frauds"] == transactions.frauds
    assert manifest.data["seen_until"] == transactions.moment[-1]
    assert manifest.transform == FeatureTransform.fit(CREDITCARD, transactions.raw, transactions.weight)
    assert folds_heard == [0, 1, 2]
    assert parity(refit, transactions) <= 1e-5


def test_last_rows_change_the_refit(refit: Fitted, transactions: Dataset, small_settings: EnsembleSettings, origin):
    other = fit_refit(relabelled(transactions, 5), small_settings, ENGINE, origin)
    assert other.bundle.booster != refit.bundle.booster


def test_refit_calibrates_on_forward_scores(
    refit: Fitted, transactions: Dataset, small_settings: EnsembleSettings, origin
):
    folds = forward_folds(transactions, ENGINE.folds)
    np.testing.assert_array_equal(refit.unseen.moment, np.concatenate([fold.future.moment for fold in folds]))
    np.testing.assert_array_equal(refit.unseen.label, transactions.label[len(folds[0].past) :])
    # the last fold's scores come from a model of the rows before it alone
    last = folds[-1]
    spoilt = Dataset(
        CREDITCARD,
        *(
            np.concatenate([a, b])
            for a, b in zip(
                (last.past.raw, last.past.label, last.past.weight, last.past.moment),
                (last.future.raw, 1 - last.future.label, last.future.weight, last.future.moment),
                strict=True,
            )
        ),
    )
    other = fit_refit(spoilt, small_settings, ENGINE, origin)
    np.testing.assert_array_equal(other.unseen.hybrid, refit.unseen.hybrid)
    assert other.calibrator == fit_calibrator(other.unseen.hybrid, other.unseen.label, other.unseen.weight)


def test_unseen_rows_survive_a_frame(twin: Fitted):
    again = type(twin.unseen).from_frame(twin.unseen.to_frame())
    for name in twin.unseen.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(twin.unseen, name))
    assert again.days == twin.unseen.days


@pytest.fixture(scope="module")
def fold(split: TimeSplit) -> Fold:
    return Fold(split.train, split.validation)


@pytest.fixture(scope="module")
def prepared(fold: Fold, small_settings: EnsembleSettings) -> PreparedFold:
    return PreparedFold.prepare(fold, LEFT_OUT, seed=4, threads=1)


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
    amount = FeatureTransform.fit(CREDITCARD, fold.past.raw, fold.past.weight)
    past, future = (amount(data.raw) for data in (fold.past, fold.future))
    return fit_ensemble(CREDITCARD, past, fold.past.label, fold.past.weight, settings, seed=4).hybrid(future)


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
        other(booster=type(small_settings.booster)(rounds=3, max_bin=16)),
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
    future = Dataset(CREDITCARD, raw, 1 - fold.future.label, fold.future.weight, fold.future.moment)
    other = PreparedFold.prepare(Fold(fold.past, future), LEFT_OUT, seed=4, threads=1)
    np.testing.assert_array_equal(other.hybrid(small_settings)[:10], prepared.hybrid(small_settings)[:10])
