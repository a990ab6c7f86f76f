"""The simulator against the real sample, and its options against what they promise."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp, rankdata
from sklearn.metrics import average_precision_score

from ml_project import simulator_model
from ml_project.errors import InvalidInput
from ml_project.operators import SECONDS_PER_DAY
from ml_project.simulator import FraudWave, Transactions, simulate
from tests.support.creditcard import LABEL, PCA_COMPONENTS, RAW_FEATURES, WEIGHT

Floats = NDArray[np.float64]

COLUMNS = [*PCA_COMPONENTS, "Amount"]
SAMPLE_END = 145_247
ROWS_OF_TWO_DAYS = 284_807
V14 = RAW_FEATURES.index("V14")


def whole(chunks) -> Transactions:
    parts = list(chunks)
    return Transactions(np.concatenate([p.raw for p in parts]), np.concatenate([p.label for p in parts]))


def hour_of_day(time: Floats) -> Floats:
    return time % SECONDS_PER_DAY / 3600


def spearman(values: Floats) -> Floats:
    return np.corrcoef(np.apply_along_axis(rankdata, 0, values), rowvar=False)


def fitted(features: Floats, label: NDArray[np.int8], weight: Floats | None = None) -> xgboost.XGBClassifier:
    model = xgboost.XGBClassifier(n_estimators=100, max_depth=5, learning_rate=0.1, n_jobs=2, random_state=0)
    return model.fit(features, label, sample_weight=weight)


def average_precision(model: xgboost.XGBClassifier, features: Floats, label, weight=None) -> float:
    return float(average_precision_score(label, model.predict_proba(features)[:, 1], sample_weight=weight))


@pytest.fixture(scope="module")
def two_days() -> Transactions:
    return whole(simulate(ROWS_OF_TWO_DAYS, seed=0))


@pytest.fixture(scope="module")
def legitimate() -> Floats:
    raw = whole(simulate(26_000, seed=1, fraud_rate=0.0)).raw
    return raw[raw[:, 0] <= SAMPLE_END]


@pytest.fixture(scope="module")
def frauds() -> Floats:
    raw = whole(simulate(24_000, seed=1, fraud_rate=1.0)).raw
    return raw[raw[:, 0] <= SAMPLE_END]


@pytest.mark.parametrize(("name", "label", "limit"), [("legitimate", 0, 0.03), ("frauds", 1, 0.10)])
def test_marginals_are_those_of_the_real_sample(
    name: str, label: int, limit: float, real_sample: pd.DataFrame, request: pytest.FixtureRequest
) -> None:
    simulated: Floats = request.getfixturevalue(name)
    real = real_sample[real_sample[LABEL] == label]
    distance = {
        column: ks_2samp(real[column], simulated[:, place]).statistic for place, column in enumerate(COLUMNS, start=1)
    }
    distance["hour"] = ks_2samp(hour_of_day(real["Time"].to_numpy()), hour_of_day(simulated[:, 0])).statistic
    assert len(simulated) > 20_000
    assert {column: value for column, value in distance.items() if value > limit} == {}


@pytest.mark.parametrize(("name", "label", "limit"), [("legitimate", 0, 0.03), ("frauds", 1, 0.08)])
def test_dependence_is_that_of_the_real_sample(
    name: str, label: int, limit: float, real_sample: pd.DataFrame, request: pytest.FixtureRequest
) -> None:
    simulated = spearman(request.getfixturevalue(name)[:, 1:])
    real = spearman(real_sample.loc[real_sample[LABEL] == label, COLUMNS].to_numpy())
    upper = np.triu_indices(len(COLUMNS), 1)
    assert np.abs(simulated - real)[upper].mean() <= limit
    with_amount = [COLUMNS.index(column) for column in ("V2", "V5", "V7", "V20")]
    np.testing.assert_allclose(simulated[-1, with_amount], real[-1, with_amount], atol=0.05 if label == 0 else 0.15)


def test_mass_points_of_amount(real_sample: pd.DataFrame, legitimate: Floats, frauds: Floats) -> None:
    for label, simulated, tolerance in ((0, legitimate, 0.01), (1, frauds, 0.04)):
        real = real_sample.loc[real_sample[LABEL] == label, "Amount"]
        for amount in (0.0, 0.76, 0.89, 1.0, 1.98, 99.99):
            expected = (real == amount).mean()
            assert (simulated[:, -1] == amount).mean() == pytest.approx(expected, abs=tolerance), amount


def test_models_carry_over_between_real_and_simulated_rows(two_days: Transactions, real_sample: pd.DataFrame) -> None:
    real, label = real_sample[COLUMNS].to_numpy(), real_sample[LABEL].to_numpy()
    weight = real_sample[WEIGHT].to_numpy()
    simulated = two_days.raw[:, 1:]
    split = int(0.8 * len(simulated))
    from_simulated = fitted(simulated[:split], two_days.label[:split])
    assert average_precision(from_simulated, real, label, weight) >= 0.7
    # As hard as the real rows (0.72 to 0.82), not separable; about 90 frauds decide, so the band is wide.
    assert 0.65 <= average_precision(from_simulated, simulated[split:], two_days.label[split:]) <= 0.9
    assert average_precision(fitted(real, label, weight), simulated, two_days.label) >= 0.7


def test_fraud_rate_time_and_amount_of_two_days(two_days: Transactions) -> None:
    expected = 0.00173 * ROWS_OF_TWO_DAYS
    assert abs(two_days.label.sum() - expected) < 4 * np.sqrt(expected)
    time, amount = two_days.raw[:, 0], two_days.raw[:, -1]
    assert two_days.raw.shape == (ROWS_OF_TWO_DAYS, len(RAW_FEATURES))
    assert two_days.raw.dtype == np.float64
    assert two_days.label.dtype == np.int8
    assert np.isfinite(two_days.raw).all()
    assert (np.diff(time) >= 0).all()
    assert (time == np.floor(time)).all()
    assert 0 <= time[0] < 60
    assert 2 * SECONDS_PER_DAY - 60 < time[-1] < 2 * SECONDS_PER_DAY
    assert (amount >= 0).all()
    assert (amount == np.round(amount, 2)).all()
    # The whole data set's mean is 88.35, its largest amount 25,691.16.
    assert amount.mean() == pytest.approx(88.35, rel=0.05)
    assert 5_000 < amount.max() < 40_000


def test_daily_rhythm_differs_by_class(legitimate: Floats, frauds: Floats) -> None:
    night = [np.mean(hour_of_day(rows[:, 0]) < 6) for rows in (legitimate, frauds)]
    assert night[0] < 0.12
    assert night[1] > 0.2


def test_every_day_has_the_same_rhythm() -> None:
    time = whole(simulate(60_000, days=3)).raw[:, 0]
    counts = np.histogram(time, np.arange(73) * 3600)[0].reshape(3, 24)
    np.testing.assert_allclose(counts[0], counts[1], atol=6 * np.sqrt(counts.max()))
    np.testing.assert_allclose(counts[0], counts[2], atol=6 * np.sqrt(counts.max()))
    assert counts[:, 3].sum() < 0.3 * counts[:, 12].sum()


def test_equal_arguments_give_equal_rows() -> None:
    first, again, other = (whole(simulate(3_000, seed=seed, chunk_rows=1_000)) for seed in (7, 7, 8))
    assert first.raw.tobytes() == again.raw.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert not np.array_equal(first.raw, other.raw)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 300),
    chunk_rows=st.integers(1, 120),
    seed=st.integers(0, 2**63),
    fraud_rate=st.floats(0, 1),
    days=st.floats(0.01, 40),
    start=st.floats(0, 2e9),
)
def test_chunks_are_ordered_and_complete(
    rows: int, chunk_rows: int, seed: int, fraud_rate: float, days: float, start: float
) -> None:
    options = {"seed": seed, "fraud_rate": fraud_rate, "days": days, "start": start}
    chunks = list(simulate(rows, chunk_rows=chunk_rows, **options))
    assert [len(c.label) for c in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
    together = whole(iter(chunks))
    assert together.raw.shape == (rows, len(RAW_FEATURES))
    assert np.isfinite(together.raw).all()
    time = together.raw[:, 0]
    assert (np.diff(time) >= 0).all()
    assert start <= time[0]
    assert time[-1] <= np.ceil(start + days * SECONDS_PER_DAY)


def test_chunks_do_not_repeat_each_other() -> None:
    chunks = list(simulate(4_000, chunk_rows=1_000))
    assert len({chunk.raw[0, 1] for chunk in chunks}) == len(chunks)
    assert len(np.unique(whole(iter(chunks)).raw[:, 1:29], axis=0)) == 4_000


def test_drift_shifts_by_standard_deviations(real_sample: pd.DataFrame) -> None:
    plain = whole(simulate(2_000, seed=3)).raw
    moved = whole(simulate(2_000, seed=3, drift={"V14": 1.5, "Amount": -0.5})).raw
    values, weight = real_sample["V14"], real_sample[WEIGHT]
    deviation = np.sqrt(np.average((values - np.average(values, weights=weight)) ** 2, weights=weight))
    np.testing.assert_allclose(moved[:, V14] - plain[:, V14], 1.5 * deviation, rtol=1e-4)
    np.testing.assert_array_equal(np.delete(moved, [V14, 29], axis=1), np.delete(plain, [V14, 29], axis=1))
    assert (moved[:, -1] <= plain[:, -1]).all()
    assert moved[:, -1].min() == 0


def test_amount_factor_multiplies_and_rounds() -> None:
    plain = whole(simulate(2_000, seed=3)).raw
    tripled = whole(simulate(2_000, seed=3, amount_factor=3.0)).raw
    np.testing.assert_allclose(tripled[:, -1], 3 * plain[:, -1], atol=0.02)
    assert (tripled[:, -1] == np.round(tripled[:, -1], 2)).all()
    np.testing.assert_array_equal(tripled[:, :-1], plain[:, :-1])


def test_a_fraud_wave_raises_the_rate_in_its_window_only() -> None:
    options = {"seed": 5, "fraud_rate": 0.01, "days": 1.0}
    plain = whole(simulate(100_000, **options))
    waved = whole(simulate(100_000, fraud_wave=FraudWave(start_hour=12, hours=4, factor=10), **options))
    hour = plain.raw[:, 0] / 3600
    inside = (hour >= 12) & (hour < 16)
    np.testing.assert_array_equal(waved.raw[:, 0], plain.raw[:, 0])
    np.testing.assert_array_equal(waved.label[~inside], plain.label[~inside])
    assert waved.label[inside].mean() == pytest.approx(10 * plain.label[inside].mean(), rel=0.25)


def test_the_surplus_of_a_wave_is_one_cluster() -> None:
    options = {"seed": 5, "fraud_rate": 0.01, "days": 1.0}
    plain = whole(simulate(50_000, **options))
    waved = whole(simulate(50_000, fraud_wave=FraudWave(0, 24, 40), **options))
    spread = [rows.raw[rows.label == 1, 1:29].std(axis=0) for rows in (plain, waved)]
    assert np.median(spread[1] / spread[0]) < 0.9


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"drift": {"V29": 1.0}}, "V29"),
        ({"drift": {"Time": 1.0}}, "Time"),
        ({"drift": {"V1": float("nan")}}, "V1"),
        ({"rows": 0}, "rows"),
        ({"seed": -1}, "seed"),
        ({"fraud_rate": 1.01}, "fraud_rate"),
        ({"fraud_rate": float("nan")}, "fraud_rate"),
        ({"days": 0.0}, "days"),
        ({"days": float("inf")}, "days"),
        ({"start": -1.0}, "start"),
        ({"amount_factor": -0.1}, "amount_factor"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"fraud_wave": FraudWave(0, 1, 0.5)}, "fraud_wave.factor"),
        ({"fraud_wave": FraudWave(-1, 1, 2)}, "fraud_wave.start_hour"),
    ],
)
def test_arguments_are_refused_at_the_call(options: dict, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        simulate(**{"rows": 10, **options})


def test_parameters_are_small_and_hold_no_rows(real_sample: pd.DataFrame) -> None:
    path = Path(simulator_model.__file__).with_name("simulator_parameters.json")
    assert path.stat().st_size <= 300_000
    parameters = json.loads(path.read_text(encoding="utf-8"))
    by_column = [np.asarray(parameters[name]["tables"]) for name in ("legitimate", "fraud")]
    # Tables are monotone per column, so a row of them is a set of quantiles, not a transaction.
    assert all((np.diff(table, axis=1) >= 0).all() for table in by_column)
    assert (np.diff(parameters["legitimate"]["amount"]) >= 0).all()
    simulated = np.round(whole(simulate(50_000)).raw[:, 1:29], 1)
    real = np.round(real_sample[list(PCA_COMPONENTS)].to_numpy(), 1)
    assert not {row.tobytes() for row in simulated} & {row.tobytes() for row in real}
