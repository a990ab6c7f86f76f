import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ml_project.features import RATIO_GUARD, FeatureTransform
from ml_project.operators import Scale
from tests.support.creditcard import CREDITCARD, ENGINEERED_FEATURES, FEATURES, RAW_FEATURES

AMOUNT = FeatureTransform(CREDITCARD, {"amount_zscore": Scale(mean=88.0, std=250.0)})
V1, V2 = RAW_FEATURES.index("V1"), RAW_FEATURES.index("V2")

rows = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=st.floats(0, 1e9)),
        hnp.arrays(np.float64, (n, 28), elements=st.floats(-1e6, 1e6)),
        hnp.arrays(np.float64, n, elements=st.floats(0, 1e7)),
    )
)


def raw_row(**fields: float) -> np.ndarray:
    return np.array([[fields.get(name, 0.0) for name in RAW_FEATURES]])


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURES.index(name)]


def test_a_row_computed_by_hand():
    raw = raw_row(Time=90_000, V1=3.0, V2=-4.0, V28=7.0, Amount=1338.0)
    row = dict(zip(FEATURES, AMOUNT(raw)[0].tolist(), strict=True))
    assert row["Time"] == 1.0
    assert (row["V1"], row["V2"], row["V3"], row["V28"], row["Amount"]) == (3.0, -4.0, 0.0, 7.0, 1338.0)
    assert row["amount_zscore"] == 5.0
    assert row["amount_log"] == pytest.approx(7.19967834569117)
    assert row["v1_v2_ratio"] == -0.75
    assert row["high_value"] == 1.0
    assert row["variance_all"] == pytest.approx((9 + 16 + 49) / 28 - (6 / 28) ** 2)
    assert row["max_abs_v"] == 7.0
    assert row["mean_abs_v"] == 0.5


@pytest.mark.parametrize(
    ("time", "hour"), [(0, 0), (3600, 1), (86_399, 86_399 / 3600), (86_400, 0), (172_792, 86_392 / 3600), (9e8, 16)]
)
def test_time_enters_as_hour_of_day(time: float, hour: float):
    assert column(AMOUNT(raw_row(Time=time)), "Time")[0] == np.float32(hour)


@pytest.mark.parametrize("time", [86_399.999_999_9, 172_799.999_999_99, -1e-20])
def test_rounding_never_makes_hour_24(time: float):
    assert column(AMOUNT(raw_row(Time=time)), "Time")[0] < 24


@pytest.mark.parametrize(("amount", "high"), [(1000.0, 0), (np.nextafter(1000.0, 2000), 1), (0.0, 0)])
def test_high_value_starts_above_1000(amount: float, high: int):
    assert column(AMOUNT(raw_row(Amount=amount)), "high_value")[0] == high


@pytest.mark.parametrize(
    ("v2", "divisor"),
    [
        (0.0, RATIO_GUARD),
        (-0.0, RATIO_GUARD),
        (1e-300, RATIO_GUARD),
        (-1e-300, -RATIO_GUARD),
        (RATIO_GUARD, RATIO_GUARD),
        (-RATIO_GUARD, -RATIO_GUARD),
        (np.nextafter(RATIO_GUARD, 0), RATIO_GUARD),
        (-np.nextafter(RATIO_GUARD, 0), -RATIO_GUARD),
        (2e-3, 2e-3),
        (-2e-3, -2e-3),
    ],
)
def test_ratio_is_guarded_near_zero_and_keeps_its_sign(v2: float, divisor: float):
    ratio = column(AMOUNT(raw_row(V1=5.0, V2=v2)), "v1_v2_ratio")[0]
    assert ratio == np.float32(5.0 / divisor)


@given(rows)
def test_features_are_finite_and_in_range(parts):
    features = AMOUNT(np.column_stack(parts))
    assert features.dtype == np.float32
    assert features.shape == (len(parts[0]), 37)
    assert np.isfinite(features).all()
    hour = column(features, "Time")
    assert ((hour >= 0) & (hour < 24)).all()


@given(rows)
def test_a_row_alone_equals_the_row_in_a_batch_of_any_layout(parts):
    raw = np.column_stack(parts)
    batch = AMOUNT(raw)
    np.testing.assert_array_equal(np.concatenate([AMOUNT(row[None]) for row in raw]), batch)
    np.testing.assert_array_equal(AMOUNT(np.asfortranarray(raw)), batch)


@given(st.integers(0, 86_399), st.integers(0, 20_000))
def test_whole_days_change_nothing(second: int, days: int):
    first, later = (AMOUNT(raw_row(Time=t, V1=1.5)) for t in (second, second + 86_400 * days))
    np.testing.assert_array_equal(first, later)


def test_input_is_not_written_to():
    raw = raw_row(Time=90_000, V2=0.0)
    AMOUNT(raw)
    assert raw[0, 0] == 90_000


def test_amount_statistics_are_weighted():
    fitted = Scale.fit(np.array([1.0, 5.0]), np.array([3.0, 1.0]))
    assert (fitted.mean, fitted.std) == (2.0, pytest.approx(np.sqrt(3)))


@pytest.mark.parametrize("amount", [0.0, 0.1, 1e6 / 3])
def test_constant_amount_has_scale_one(amount: float):
    weight = np.random.default_rng(0).uniform(1, 3, 1000)
    assert Scale.fit(np.full(1000, amount), weight).std == 1.0


def test_order_of_the_features():
    assert (*RAW_FEATURES, *ENGINEERED_FEATURES) == FEATURES
    assert (len(RAW_FEATURES), len(ENGINEERED_FEATURES)) == (30, 7)
    assert len(set(FEATURES)) == 37
