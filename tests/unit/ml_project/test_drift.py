"""Drift is seen where it is, and not where it is not: on simulated traffic, window by window."""

from collections.abc import Callable

import numpy as np
import pytest

from ml_project.baseline import SCORE, Baseline, repeated_gaps, watched_names
from ml_project.bundle import Bundle, Manifest
from ml_project.contract import Contract
from ml_project.contract_parts import OTHER
from ml_project.drift import (
    Drift,
    DriftCounts,
    chance_counts,
    chi_square_quantile,
    compare,
    judge,
    kolmogorov_smirnov,
    population_stability,
)
from ml_project.features import FeatureTransform
from ml_project.policies import decide, decide_all
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from ml_project.statistics import FeatureStatistics
from pipelines.monitoring.figures import MonitorLimits, drift_figures
from tests.support.creditcard import CREDITCARD, FEATURES, WATCHED
from tests.support.shop import VISITS

LIMITS = MonitorLimits.load().drift
Compare = Callable[[np.ndarray], list[Drift]]


def simulated(rows: int, seed: int, **options: object) -> np.ndarray:
    chunks = list(simulate(rows, seed=seed, **options))  # type: ignore[arg-type]
    return np.concatenate([chunk.raw for chunk in chunks])


@pytest.fixture(scope="module")
def against_baseline(small_scorer: Scorer) -> Compare:
    """Compares raw windows with 60,000 simulated transactions of two days, scored by a small ensemble."""
    training = simulated(60_000, seed=100)
    weight = np.ones(len(training))
    amount = FeatureTransform.fit(CREDITCARD, training, weight)
    features = amount(training)
    baseline = Baseline.fit(CREDITCARD, training, features, small_scorer.score_features(features).hybrid, weight)
    statistics = FeatureStatistics.fit(FEATURES, features, weight)
    significance = LIMITS.significance(len(WATCHED))

    def against(raw: np.ndarray) -> list[Drift]:
        window = amount(raw)
        hybrid = small_scorer.score_features(window).hybrid
        return compare(CREDITCARD, baseline, statistics, raw, window, hybrid, np.ones(len(raw)), significance)

    return against


def alarms(drifts: list[Drift]) -> set[tuple[str, str]]:
    return {(each.name, figure.name) for each in drifts for figure in drift_figures(each, LIMITS) if figure.breached}


@pytest.mark.parametrize(
    ("rows", "windows", "hours"), [(500, 300, 24), (500, 200, 6), (2_000, 150, 24), (2_000, 100, 6), (20_000, 20, 24)]
)
def test_at_most_one_false_alarm_in_a_hundred_windows(
    against_baseline: Compare, rows: int, windows: int, hours: int
) -> None:
    """A window counts as one alarm however many of its figures are beyond their limits; some begin at midnight."""
    pool = simulated(rows * windows, seed=rows + hours, days=hours / 24)
    pool = pool[np.random.default_rng(0).permutation(len(pool))].reshape(windows, rows, -1)
    alarmed = [window for window in pool if alarms(against_baseline(window))]
    assert len(alarmed) <= windows / 100


@pytest.mark.parametrize("seed", range(10))
def test_half_a_standard_deviation_and_a_doubled_amount_are_caught_within_a_day(
    against_baseline: Compare, seed: int
) -> None:
    shifted = alarms(against_baseline(simulated(2_000, seed, days=1, drift={"V14": 0.5})))
    assert {("V14", "psi"), ("V14", "ks")} <= shifted
    assert {name for name, _figure in shifted} <= {"V14", "max_abs_v", "mean_abs_v", "variance_all", SCORE}
    doubled = alarms(against_baseline(simulated(2_000, seed, days=1, amount_factor=2)))
    assert {("Amount", "psi"), ("Amount", "ks"), ("amount_log", "psi"), ("amount_zscore", "psi")} <= doubled


def test_without_the_hour_the_night_looks_like_drift(against_baseline: Compare, small_scorer: Scorer) -> None:
    night = simulated(2_000, seed=1, days=0.25)
    assert not alarms(against_baseline(night))
    noon = simulated(2_000, seed=1, days=0.25, start=43_200)
    noon[:, 0] -= 43_200
    assert ("V12", "psi") in alarms(against_baseline(noon))


def test_a_weighted_window_is_the_window_that_it_stands_for(bundle: Bundle) -> None:
    manifest = bundle.manifest
    raw, times = simulated(600, seed=2), np.random.default_rng(2).integers(1, 4, 600)
    features = manifest.transform(raw)
    score = Scorer(bundle, threads=1).score_features(features).hybrid
    weighted = compare(
        CREDITCARD, manifest.drift_baseline, manifest.statistics, raw, features, score, times.astype(float), 1e-4
    )
    repeated = compare(
        CREDITCARD,
        manifest.drift_baseline,
        manifest.statistics,
        raw,
        features.repeat(times, axis=0),
        score.repeat(times),
        np.ones(times.sum()),
        1e-4,
    )
    for one, other in zip(weighted, repeated, strict=True):
        assert one.ks.value == pytest.approx(other.ks.value)
        assert one.rows < other.rows  # fewer rows know less
        assert one.ks.noise > other.ks.noise


def test_missing_values_and_values_out_of_range_are_shares(bundle: Bundle) -> None:
    manifest = bundle.manifest
    raw = simulated(400, seed=3)
    features = manifest.transform(raw)
    features[:100, 5] = np.nan
    features[100:300, 6] = 1e6
    score = np.zeros(400)
    found = {
        each.name: each
        for each in compare(
            CREDITCARD, manifest.drift_baseline, manifest.statistics, raw, features, score, np.ones(400), 1e-4
        )
    }
    assert (found["V5"].missing.value, found["V5"].rows) == (0.25, 300)
    assert found["V6"].out_of_range is not None
    assert found["V6"].out_of_range.value >= 0.5 > found["V6"].out_of_range.noise
    assert found["V7"].missing.value == 0
    assert found[SCORE].out_of_range is None


def test_an_empty_window_says_nothing(bundle: Bundle) -> None:
    empty = np.empty((0, 37), dtype=np.float32)
    found = compare(
        CREDITCARD,
        bundle.manifest.drift_baseline,
        bundle.manifest.statistics,
        empty,
        empty,
        np.empty(0),
        np.empty(0),
        1e-4,
    )
    assert all(each.psi.value == each.ks.value == 0 for each in found)


def test_psi_and_ks_by_hand() -> None:
    before, now = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    psi = population_stability(before, now, 1_000, 500, 0.05)
    assert psi.value == pytest.approx(-0.1 * np.log(0.8) + 0.1 * np.log(1.5))
    assert psi.noise == pytest.approx(5.99 * 0.003, rel=0.01)
    ks = kolmogorov_smirnov(before, now, 1_000, 500, 0.05)
    assert ks.value == pytest.approx(0.1)
    assert ks.noise == pytest.approx(1.358 * np.sqrt(0.003), rel=0.001)


def test_bins_too_small_for_the_window_are_merged() -> None:
    before, now = np.array([0.5, 0.49, 0.004, 0.006]), np.array([0.5, 0.5, 0.0, 0.0])
    psi = population_stability(before, now, 1e6, 100, 0.05)
    assert psi.value == 0
    assert psi.noise == pytest.approx(3.84 * 0.01, rel=0.03)  # one degree of freedom


@pytest.mark.parametrize(
    ("freedom", "significance", "exact"), [(3, 0.05, 7.815), (9, 4e-5, 36.36), (19, 1e-3, 43.82), (1, 0.01, 6.635)]
)
def test_chi_square(freedom: int, significance: float, exact: float) -> None:
    assert chi_square_quantile(freedom, significance) == pytest.approx(exact, rel=0.06 if freedom == 1 else 0.02)
    assert chi_square_quantile(freedom, significance) >= exact * 0.99


def test_chance_counts_hold_what_they_promise() -> None:
    """Values beyond the range of 1,000 earlier ones, and counts of an event seen 30 times in 5,000."""
    generator = np.random.default_rng(0)
    known, rows = generator.random((4_000, 1_000)), generator.random((4_000, 500))
    outside = (rows < known.min(axis=1, keepdims=True)) | (rows > known.max(axis=1, keepdims=True))
    _low, high = chance_counts(2, 1_000, 500, 0.01)
    assert 0.003 < (outside.sum(axis=1) > high).mean() <= 0.013
    low, high = chance_counts(30, 5_000, 20_000, 0.01)
    counts = generator.poisson(generator.gamma(30, 1 / 5_000, 100_000) * 20_000)
    assert 0.008 < (counts > high).mean() < 0.011
    assert 0.008 < (counts < low).mean() < 0.011
    assert chance_counts(2, 0, 10, 0.01) == (0, 0)


@pytest.fixture(scope="module")
def manifest(small_scorer: Scorer) -> Manifest:
    return small_scorer.bundle.manifest


def test_pieces_add_up_to_the_whole_and_survive_json(small_scorer: Scorer, manifest: Manifest) -> None:
    (chunk,) = simulate(3_000, seed=8)
    features = manifest.transform(chunk.raw)
    features[::50, 3] = np.nan
    hybrid = small_scorer.score(chunk.raw).hybrid
    baseline, weight = manifest.drift_baseline, np.random.default_rng(0).uniform(1, 3, len(hybrid))
    whole = compare(CREDITCARD, baseline, manifest.statistics, chunk.raw, features, hybrid, weight, 1e-4)
    counts = DriftCounts.none(baseline)
    for piece in np.array_split(np.arange(3_000), 7):
        parts = (each[piece] for each in (chunk.raw, features, hybrid, weight))
        one = DriftCounts.of(CREDITCARD, baseline, manifest.statistics, *parts)
        counts += DriftCounts.from_dict(one.to_dict())
    for added, expected in zip(judge(CREDITCARD, baseline, counts, 1e-4), whole, strict=True):
        assert (added.name, added.rows) == (expected.name, pytest.approx(expected.rows))
        assert added.psi.value == pytest.approx(expected.psi.value, abs=1e-12)
        assert added.ks.noise == pytest.approx(expected.ks.noise)
        assert added.missing.value == pytest.approx(expected.missing.value)
        assert added.observed == pytest.approx(expected.observed)
    assert whole[2].missing.value == pytest.approx(weight[::50].sum() / weight.sum())


LEARNT = VISITS.with_values({"country": ("AT", "CH", "DE")})
CHANNELS = np.array([0.0, 1.0, 2.0, OTHER, np.nan])
USUAL = [0.5, 0.28, 0.15, 0.02, 0.05]


def visits_with(rows: int, seed: int, channel: list[float], nothing: float = 0.2) -> np.ndarray:
    """Raw transactions with these shares of web, chip, phone, others and none."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(rows, len(LEARNT.raw_fields)))
    for name, values, shares in (
        ("channel", CHANNELS, channel),
        ("country", CHANNELS[:3], [0.3, 0.3, 0.4]),
        ("items", np.array([1.0, 2.0, np.nan]), [0.5, 0.5 - nothing, nothing]),
        ("new customer", np.array([0.0, 1.0]), [0.97, 0.03]),
        ("newsletter", np.array([0.0, 1.0]), [0.5, 0.5]),
    ):
        raw[:, LEARNT.raw_fields.index(name)] = rng.choice(values, rows, p=shares)
    return raw


@pytest.fixture(scope="module")
def against_visits() -> Compare:
    training = visits_with(20_000, 1, USUAL)
    weight = np.ones(len(training))
    transform = FeatureTransform.fit(LEARNT, training, weight)
    features = transform(training)
    baseline = Baseline.fit(LEARNT, training, features, np.linspace(0, 1, len(weight)), weight)
    statistics = FeatureStatistics.fit(LEARNT.feature_names, features, weight)
    significance = LIMITS.significance(len(watched_names(LEARNT)))

    def against(raw: np.ndarray) -> list[Drift]:
        hybrid = np.random.default_rng(0).permutation(np.linspace(0, 1, len(raw)))
        return compare(LEARNT, baseline, statistics, raw, transform(raw), hybrid, np.ones(len(raw)), significance)

    return against


def test_a_category_is_one_figure(against_visits: Compare) -> None:
    drifts = {each.name: each for each in against_visits(visits_with(4_000, 2, USUAL))}
    assert [name for name in drifts if "=" in name or "frequency" in name] == []
    assert {"channel", "country", SCORE} <= drifts.keys()
    channel = drifts["channel"]
    assert channel.expected == pytest.approx(USUAL, abs=0.01)
    assert len(channel.observed) == 5
    assert len(drifts["country"].observed) == 4
    assert channel.other is not None
    assert channel.other.usual == pytest.approx(0.02, abs=0.005)
    assert channel.missing.usual == pytest.approx(0.05, abs=0.005)
    assert drifts["items"].missing.usual == pytest.approx(0.2, abs=0.01)
    assert (channel.out_of_range, drifts["items"].other) == (None, None)
    assert alarms(list(drifts.values())) == set()


@pytest.mark.parametrize(
    ("channel", "nothing", "seen"),
    [
        ([0.3, 0.48, 0.15, 0.02, 0.05], 0.2, {("channel", "psi")}),
        ([0.46, 0.28, 0.15, 0.06, 0.05], 0.2, {("channel", "other")}),
        ([0.44, 0.28, 0.15, 0.02, 0.11], 0.2, {("channel", "missing")}),
        (USUAL, 0.3, {("items", "missing")}),
    ],
)
def test_shifts_of_categories_are_seen(
    against_visits: Compare, channel: list[float], nothing: float, seen: set[tuple[str, str]]
) -> None:
    found = alarms(against_visits(visits_with(4_000, 3, channel, nothing)))
    assert seen <= found
    strange = {name for name, figure in found if figure in ("other", "missing")}
    assert strange <= {name for name, _figure in seen}


def test_a_category_needs_no_feature_of_each_value() -> None:
    document = {"contract": "c", "label": {"field": "l"}}
    fields = [
        {"name": "kind", "type": "category", "values": ["x", "y"]},
        {"name": "n", "type": "number", "required": False},
        {"name": "m", "type": "number", "required": False},
    ]
    made = [("often", "frequency", "kind"), ("n", "value", "n"), ("n_z", "zscore", "n"), ("m", "value", "m")]
    features = [{"name": name, "operator": operator, "of": [of]} for name, operator, of in made]
    features += [{"name": name, "operator": "ratio", "of": of} for name, of in (("r", ["n", "m"]), ("s", ["m", "n_z"]))]
    contract = Contract.model_validate({**document, "fields": fields, "features": features})
    rng = np.random.default_rng(0)

    def drawn(rows: int, other: float, gaps: float) -> np.ndarray:
        numbers = np.where(rng.random((rows, 2)) < [gaps, 0.1], np.nan, rng.normal(size=(rows, 2)))
        return np.column_stack([rng.choice([0.0, 1.0, OTHER], rows, p=[0.5, 0.5 - other, other]), numbers])

    training = drawn(20_000, 0.02, 0.1)
    weight, hybrid = np.ones(len(training)), np.linspace(0, 1, len(training))
    transform = FeatureTransform.fit(contract, training, weight)
    baseline = Baseline.fit(contract, training, transform(training), hybrid, weight)
    statistics = FeatureStatistics.fit(contract.feature_names, transform(training), weight)
    assert watched_names(contract) == ("n", "n_z", "m", "r", "s", "kind", SCORE)
    assert repeated_gaps(contract) == {"n_z", "s"}
    window = drawn(4_000, 0.1, 0.3)
    score = rng.permutation(np.linspace(0, 1, len(window)))
    found = compare(contract, baseline, statistics, window, transform(window), score, np.ones(len(window)), 1e-4)
    strange = {(name, figure) for name, figure in alarms(found) if figure in ("other", "missing")}
    assert strange == {("kind", "other"), ("n", "missing"), ("r", "missing")}


def test_a_category_that_fills_nearly_all_is_seen_to_leave(against_visits: Compare) -> None:
    """Deciles alone would have it in one bin with all others."""
    almost = visits_with(4_000, 5, USUAL)
    almost[:, LEARNT.raw_fields.index("country")] = OTHER
    assert ("country", "other") in alarms(against_visits(almost))
    assert ("country", "psi") in alarms(against_visits(almost))


def test_many_decisions_are_those_of_one_by_one(small_scorer: Scorer) -> None:
    thresholds = small_scorer.thresholds
    scores = np.array([0.0, thresholds.alert, np.nextafter(thresholds.alert, 0), thresholds.decline, 1.0])
    assert decide_all(scores, thresholds).tolist() == [
        ["APPROVE", "REVIEW", "DECLINE"].index(decide(score, thresholds)) for score in scores.tolist()
    ]
