import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_project.errors import InvalidInput
from ml_project.metrics import RankingCurve, ranking_curve
from ml_project.policies import NEVER, POLICIES, PolicySettings, choose_thresholds

SETTINGS = PolicySettings(review_cost=5.0, alerts_per_day=6.0, fpr=0.1, decline_precision=0.8)
DAYS = 2.0


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Score, label, weight (small integers, so that counts are exact), amount."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = (rng.random(n) < 0.3).astype(np.int8)
    label[:2] = (0, 1)
    score = np.clip(rng.normal(0.3 + 0.2 * label, 0.2), 0, 1)
    distinct = draw(st.sampled_from([2, 10, 10**9]))
    return (
        np.round(score * distinct) / distinct,
        label,
        rng.integers(1, 4, n).astype(float),
        rng.integers(0, 40, n) * 1.0,
    )


def tried(data: tuple[np.ndarray, ...]) -> dict[float, dict[str, float]]:
    """What each threshold at a score, from the highest down, would do; first of all a threshold above every score."""
    score, label, weight, amount = data
    found = {}
    for threshold in [NEVER, *np.unique(score)[::-1]]:
        alert = score >= threshold
        caught, false = weight[alert & (label == 1)].sum(), weight[alert & (label == 0)].sum()
        missed = weight[~alert & (label == 1)].sum()
        found[float(threshold)] = {
            "alerts": caught + false,
            "f1": 2 * caught / (2 * caught + false + missed),
            "cost": (weight * amount)[~alert & (label == 1)].sum() + 5 * (caught + false),
            "fpr": false / weight[label == 0].sum(),
            "precision": caught / (caught + false) if caught + false else 0.0,
        }
    return found


def expected_alert(policy: str, found: dict[float, dict[str, float]]) -> float:
    """The highest of the best thresholds (f1, cost), or the lowest that is allowed."""
    if policy in ("f1", "cost"):
        sign = 1 if policy == "f1" else -1
        best = max(sign * figures[policy] for figures in found.values())
        return max(t for t, figures in found.items() if sign * figures[policy] == pytest.approx(best, abs=1e-9))
    name, limit = {"alert_budget": ("alerts", 12.0), "recall_at_fpr": ("fpr", 0.1)}[policy]
    return min(t for t, figures in found.items() if figures[name] <= limit)


def alerted(data: tuple[np.ndarray, ...], threshold: float) -> list[int]:
    return np.flatnonzero(data[0] >= threshold).tolist()


@pytest.mark.parametrize("policy", POLICIES)
@given(data=rows())
def test_alert_threshold_is_the_one_found_by_trying_all(policy: str, data):
    chosen = choose_thresholds(policy, ranking_curve(*data), SETTINGS, DAYS)
    assert alerted(data, chosen.alert) == alerted(data, expected_alert(policy, tried(data)))


@pytest.mark.parametrize("policy", POLICIES)
@given(data=rows())
def test_decline_is_the_lowest_precise_threshold_not_below_alert(policy: str, data):
    chosen = choose_thresholds(policy, ranking_curve(*data), SETTINGS, DAYS)
    assert chosen.decline >= chosen.alert
    precise = [t for t, f in tried(data).items() if f["precision"] >= 0.8 and t >= chosen.alert]
    assert alerted(data, chosen.decline) == alerted(data, min(precise, default=NEVER))


@pytest.mark.parametrize("policy", POLICIES)
@given(data=rows())
def test_thresholds_lie_half_way_between_scores(policy: str, data):
    chosen = choose_thresholds(policy, ranking_curve(*data), SETTINGS, DAYS)
    for threshold in (chosen.alert, chosen.decline):
        above, below = data[0][data[0] >= threshold], data[0][data[0] < threshold]
        if threshold == NEVER:
            assert not len(above)
        elif above.min() > 0:
            lower = below.max() if len(below) else 0.0
            assert lower < threshold < above.min()
            assert threshold - lower == pytest.approx(above.min() - threshold, rel=1e-6)


@given(st.floats(1e-300, 1, exclude_max=True))
def test_neighbouring_floats_are_told_apart(score: float):
    data = np.array([score, np.nextafter(score, 2)]), np.array([0, 1], np.int8), np.ones(2), np.ones(2)
    chosen = choose_thresholds("f1", ranking_curve(*data), SETTINGS, DAYS)
    assert alerted(data, chosen.alert) == [1]


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("cost", PolicySettings(review_cost=1e6)),
        ("alert_budget", PolicySettings(alerts_per_day=0)),
        ("recall_at_fpr", PolicySettings(fpr=0)),
    ],
)
def test_no_alert_is_possible(policy: str, settings: PolicySettings):
    score, label = np.array([0.9, 0.5, 0.1]), np.array([0, 1, 0], np.int8)
    chosen = choose_thresholds(policy, ranking_curve(score, label, np.ones(3), np.ones(3)), settings, 1.0)
    assert (chosen.alert, chosen.decline) == (NEVER, NEVER)


def test_declines_never_include_rows_below_the_wanted_precision():
    # ten frauds below a false alert: precision is 0.5 at the budget of two, and 0.92 only far below it
    score = np.linspace(0.9, 0.1, 12)
    label = np.array([0, *[1] * 11], np.int8)
    curve = ranking_curve(score, label, np.ones(12), np.ones(12))
    settings = PolicySettings(alerts_per_day=2, decline_precision=0.9)
    chosen = choose_thresholds("alert_budget", curve, settings, 1.0)
    assert int((score >= chosen.alert).sum()) == 2
    assert chosen.decline == NEVER


def test_budget_grows_with_the_days(twin):
    curve: RankingCurve = twin.unseen.curve
    settings = PolicySettings(alerts_per_day=10)
    alerts = [curve.alerts[curve.at(choose_thresholds("alert_budget", curve, settings, d).alert)] for d in (1, 2, 10)]
    assert alerts[0] <= 10 < alerts[1] <= 20 < alerts[2] <= 100


def test_unknown_policy():
    curve = ranking_curve(np.array([0.1, 0.9]), np.array([0, 1], np.int8), np.ones(2), np.ones(2))
    with pytest.raises(InvalidInput, match=r"no threshold policy 'best'\. Choose one of f1, cost, alert_budget"):
        choose_thresholds("best", curve, SETTINGS, DAYS)
