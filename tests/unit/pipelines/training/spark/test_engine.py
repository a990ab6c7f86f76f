"""What Spark fits and scores, beside what one machine does with the same rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_project.cleaning import clean
from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import (
    BoosterSettings,
    EnsembleSettings,
    ForestSettings,
    IsolationMap,
    anomaly_scores,
    without,
)
from ml_project.fitting import fit_twin, parity
from ml_project.metrics import average_precision
from ml_project.policies import POLICIES, PolicySettings, choose_thresholds
from ml_project.simulator_cards import CardWorld, simulate_cards
from pipelines.training.spark.engine import SparkEngine
from pipelines.training.spark.part import SparkPart, read_transactions
from tests.support.creditcard import CREDITCARD, LEFT_OUT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SETTINGS = EnsembleSettings(
    blend_weight=0.1, forest=ForestSettings(50, 128), booster=BoosterSettings(rounds=20, num_parallel_tree=2)
)
ORIGIN = {"source": "simulated", "digest": "0" * 64}
SAMPLED = 1_500


def test_a_sample_of_everything_is_everything(spark: Any, here: Dataset, there: SparkPart) -> None:
    sample = SparkEngine(spark).sample(there)
    np.testing.assert_array_equal(sample.moment, here.moment)
    assert sorted(map(tuple, sample.raw.tolist())) == sorted(map(tuple, here.raw.tolist()))
    assert (sample.weight.sum(), sample.frauds) == (here.weight.sum(), here.frauds)


def test_a_sample_stands_for_all_however_rows_are_spread(
    spark: Any, here: Dataset, there: SparkPart, frame: pd.DataFrame, tmp_path: Path
) -> None:
    sample = SparkEngine(spark, sample_rows=SAMPLED).sample(there)
    assert (sample.frauds, int((sample.label == 0).sum())) == (here.frauds, SAMPLED)
    assert sample.weight.sum() == pytest.approx(here.weight.sum())
    assert np.all(np.diff(sample.moment) >= 0)
    deviation = here.raw[:, 1].std() / np.sqrt(SAMPLED)
    means = [np.average(data.raw[:, 1], weights=data.weight) for data in (sample, here)]
    assert abs(means[0] - means[1]) < 5 * deviation

    frame.sample(frac=1.0, random_state=9).to_parquet(tmp_path / "other.parquet", row_group_size=333)
    other = SparkEngine(spark, sample_rows=SAMPLED).sample(
        read_transactions(spark, tmp_path / "other.parquet", CREDITCARD, 0)
    )
    np.testing.assert_array_equal(other.raw, sample.raw)
    another = SparkEngine(spark, sample_rows=SAMPLED).sample(
        read_transactions(spark, tmp_path / "other.parquet", CREDITCARD, 1)
    )
    assert not np.array_equal(another.raw, sample.raw)


def test_statistics_of_all_rows(spark: Any, here: Dataset, there: SparkPart) -> None:
    engine = SparkEngine(spark, sample_rows=SAMPLED)
    transform = engine._transform(there)
    _, local = LocalEngine().fit(here, replace(SETTINGS, booster=BoosterSettings(rounds=1)))
    (mine, its) = (each.scales["amount_zscore"] for each in (transform, local))
    assert (mine.mean, mine.std) == pytest.approx((its.mean, its.std))
    found, expected = engine.statistics(there, transform), LocalEngine().statistics(here, transform)
    for name in ("mean", "std", "minimum", "maximum"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9)
    assert np.abs(np.array(found.median) - np.array(expected.median)).max() < 0.2 * max(expected.iqr)


def test_a_contract_with_history_is_fitted(spark: Any, tmp_path: Path) -> None:
    """Its columns of history hold missing values."""
    cards = contract_named("cards")
    world = CardWorld(customers=40, terminals=60, days=60, radius=30, terminals_per_day=0.3, customers_per_day=0.3)
    frame, _report = clean(pd.concat(simulate_cards(world, seed=2), ignore_index=True), cards)
    assert frame["customer_seconds_since_last"].isna().any()
    frame.to_parquet(tmp_path / "cards.parquet")
    here, there = Dataset.from_frame(frame, cards), read_transactions(spark, tmp_path / "cards.parquet", cards, seed=0)
    engine = SparkEngine(spark, seed=1)
    sample = engine.sample(there)
    rows = [sorted(map(str, each.raw.tolist())) for each in (sample, here)]
    assert rows[0] == rows[1]
    split = engine.split(there)
    twin = fit_twin(split, SETTINGS, engine, ORIGIN)
    assert twin.bundle.manifest.contract == cards
    assert parity(twin, engine.sample(split.test)) < 1e-5
    assert average_precision(twin.unseen.curve) > 0.3


def test_fits_are_as_good_and_the_same_again(spark: Any, here: Dataset, there: SparkPart) -> None:
    engine = SparkEngine(spark, seed=1)
    split = engine.split(there)
    twin = fit_twin(split, SETTINGS, engine, ORIGIN)
    again = fit_twin(split, SETTINGS, SparkEngine(spark, seed=1), ORIGIN)
    assert again.bundle.digest == twin.bundle.digest
    assert parity(twin, engine.sample(split.test)) < 1e-5
    mine = fit_twin(LocalEngine().split(here), SETTINGS, LocalEngine(seed=1), ORIGIN)
    reached, expected = (average_precision(fitted.unseen.curve) for fitted in (twin, mine))
    assert reached == pytest.approx(expected, abs=0.05)
    for name in ("rows", "frauds", "seen_until", "role"):
        assert twin.bundle.manifest.data[name] == mine.bundle.manifest.data[name]

    train = engine.sample(split.train)
    seen = without(CREDITCARD, twin.transform(train.raw), LEFT_OUT)
    direct = IsolationMap.fit(anomaly_scores(twin.ensemble.forest, seen), train.weight)
    assert twin.ensemble.isolation_map.low == pytest.approx(direct.low, abs=2e-5)
    assert twin.ensemble.isolation_map.high == pytest.approx(direct.high, abs=1e-12)


def test_thresholds_from_the_highest_scores_are_those_of_all(spark: Any, here: Dataset, there: SparkPart) -> None:
    split, whole = LocalEngine().split(here), SparkEngine(spark)
    ensemble, amount = LocalEngine(seed=1).fit(split.train, SETTINGS)
    validation = whole.split(there).validation
    expected = LocalEngine().score(split.validation, ensemble, amount).scores
    everything = whole.score(validation, ensemble, amount)
    np.testing.assert_allclose(np.sort(everything.scores.hybrid), np.sort(expected.hybrid), atol=1e-6)
    np.testing.assert_array_equal(everything.rows.label, everything.scores.label)

    some = SparkEngine(spark, sample_rows=300).score(validation, ensemble, amount)
    assert len(some.rows) < 0.5 * len(split.validation)
    assert some.rows.weight.sum() == pytest.approx(split.validation.weight.sum())
    settings = PolicySettings(fpr=0.01, alerts_per_day=100.0)
    for policy in POLICIES:
        mine, its = (
            choose_thresholds(policy, rows.curve, settings, split.validation.days) for rows in (expected, some.scores)
        )
        assert (its.alert, its.decline) == pytest.approx((mine.alert, mine.decline), abs=1e-6), policy
