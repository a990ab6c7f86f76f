from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from ml_project.dataset import Dataset
from ml_project.drift import DriftLimits
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.errors import InvalidInput
from ml_project.prequential import (
    Budget,
    ReplayPlan,
    RetrainingReplay,
    RetrainingRule,
    RuleWeek,
    blocks,
    measure_block,
    paired_over_weeks,
    retraining_rules,
    rule_outcomes,
)
from ml_project.split import forward_folds


def test_labels_of_the_last_days_before_a_block_are_not_known(transactions: Dataset) -> None:
    delayed = blocks(transactions, 4, 0.4, label_delay=0.25)
    for fold, undelayed in zip(delayed, forward_folds(transactions, 4, 0.4), strict=True):
        assert fold.past.moment[-1] < fold.future.moment[0] - 0.25 * 86_400
        assert len(fold.past) < len(undelayed.past)
        np.testing.assert_array_equal(fold.future.moment, undelayed.future.moment)
    assert sum(len(fold.future) for fold in delayed) == pytest.approx(0.6 * len(transactions), rel=0.05)


def test_without_a_delay_everything_before_is_known(transactions: Dataset) -> None:
    for fold, undelayed in zip(blocks(transactions, 3, 0.4, 0), forward_folds(transactions, 3, 0.4), strict=True):
        assert len(fold.past) == len(undelayed.past)


def test_a_delay_longer_than_the_history_is_refused(transactions: Dataset) -> None:
    with pytest.raises(InvalidInput, match="label delay"):
        blocks(transactions, 3, 0.4, label_delay=7)


def test_a_block_is_scored_by_what_was_known(transactions: Dataset, small_settings: EnsembleSettings) -> None:
    fold = blocks(transactions, 3, 0.4, 0.1)[-1]
    figures = measure_block(fold, small_settings, LocalEngine(), Budget(200.0, 5.0), replicates=100)
    assert set(figures) == {"average_precision", "precision_at_budget", "recall_at_budget", "cost_per_day"}
    assert figures["average_precision"].value > 0.5
    assert all(figure.low <= figure.value <= figure.high for figure in figures.values())


DAY = 86_400
LIMITS = DriftLimits(
    minimum_rows=100, false_alarms=0.005, psi=0.1, ks=0.1, missing=0.01, other=0.01, out_of_range=0.005
)
FEW_DAYS = 14.0


@pytest.fixture(scope="module")
def weeks_of(transactions: Dataset) -> Dataset:
    """The same transactions over two months, each for itself."""
    moment = (transactions.moment - transactions.moment[0]) * 60 / transactions.days
    return replace(transactions, moment=moment, weight=np.ones(len(moment)))


def replay_of(
    data: Dataset, settings: EnsembleSettings, drifts: bool = False, rules: tuple[RetrainingRule, ...] = ()
) -> RetrainingReplay:
    ticks = count()
    plan = ReplayPlan(FEW_DAYS, 3.0, Budget(20.0, 5.0), LIMITS, lambda _drift: drifts)
    rules = rules or retraining_rules(FEW_DAYS)
    return RetrainingReplay(data, plan, rules, settings, LocalEngine(), lambda: float(next(ticks)))


def all_weeks(replay: RetrainingReplay) -> list[dict[str, RuleWeek]]:
    found: list[dict[str, RuleWeek]] = []
    for number in range(replay.weeks):
        found.append(replay.week(number, found[-1] if found else {}))
    return found


def test_rules_learn_when_and_from_what_they_say(weeks_of: Dataset, small_settings: EnsembleSettings) -> None:
    replay = replay_of(weeks_of, small_settings)
    weeks = all_weeks(replay)
    assert replay.weeks == len(weeks) == 6
    assert replay.begins(0) == 17 * DAY
    trained = {key: [week[key].trained for week in weeks] for key in weeks[0]}
    once = [True] + [False] * 5
    assert trained["never"] == trained["drift_sliding"] == trained["drift_growing"] == once
    assert trained["weekly_sliding"] == trained["weekly_growing"] == [True] * 6
    assert trained["monthly_sliding"] == [True, False, False, False, True, False]
    for number, week in enumerate(weeks):
        known = replay.begins(number) - 3 * DAY
        assert week["weekly_sliding"].span == (known - 14 * DAY, known)
        assert week["weekly_growing"].span == (0, known)
        assert week["never"].span == (0, 14 * DAY)
        # a clock that ticks whenever it is asked: each training took one
        assert all(each.seconds == float(each.trained) for each in week.values())
    last = weeks[-1]
    assert last["monthly_growing"].span == weeks[4]["weekly_growing"].span
    assert last["monthly_growing"].average_precision != last["never"].average_precision


def test_on_drift_a_model_is_trained_anew(weeks_of: Dataset, small_settings: EnsembleSettings) -> None:
    rules = tuple(rule for rule in retraining_rules(FEW_DAYS) if rule.key.endswith("sliding"))
    for week in all_weeks(replay_of(weeks_of, small_settings, drifts=True, rules=rules)):
        assert week["drift_sliding"] == week["weekly_sliding"]


def test_money_saved_is_what_each_days_reviews_find_less_their_price(
    weeks_of: Dataset, small_settings: EnsembleSettings
) -> None:
    [never] = [rule for rule in retraining_rules(FEW_DAYS) if rule.key == "never"]
    [first, *_later] = all_weeks(replay := replay_of(weeks_of, small_settings, rules=(never,)))
    begin = replay.begins(0)
    past = weeks_of.take(weeks_of.moment < 14 * DAY)
    ensemble, transform = LocalEngine().fit(past, small_settings)
    expected = 0.0
    for day in range(7):
        today = weeks_of.take((weeks_of.moment >= begin + day * DAY) & (weeks_of.moment < begin + (day + 1) * DAY))
        score = ensemble.hybrid(transform(today.raw))
        # as many as the budget pays for, equal scores together or not at all
        highest = score > np.sort(score)[-21]
        expected += today.amount[highest & (today.label == 1)].sum() - 5.0 * highest.sum()
    assert first["never"].saved == pytest.approx(expected)


def test_a_replay_goes_on_from_what_was_kept(weeks_of: Dataset, small_settings: EnsembleSettings) -> None:
    weeks = all_weeks(replay_of(weeks_of, small_settings))
    again = replay_of(weeks_of, small_settings).week(3, weeks[2])
    assert {key: replace(each, seconds=0.0) for key, each in again.items()} == {
        key: replace(each, seconds=0.0) for key, each in weeks[3].items()
    }


def test_outcomes_compare_rules_over_the_same_weeks() -> None:
    rng = np.random.default_rng(0)
    never, weekly, *_others = retraining_rules(30.0)
    hard = rng.normal(0, 1000, 12)  # some weeks are harder than others, for all rules alike
    weeks = [
        {
            "never": RuleWeek(7_000 + each, 0.6, 0, 1, number == 0, float(number == 0)),
            "weekly_sliding": RuleWeek(7_700 + each, 0.65, 0, 1, True, 2.0),
        }
        for number, each in enumerate(hard.tolist())
    ]
    alone, often = rule_outcomes((never, weekly), weeks, "never")
    assert (alone.trainings, alone.seconds, often.trainings, often.seconds) == (1, 1.0, 12, 24.0)
    assert often.gain.value == pytest.approx(100)
    assert (often.gain.low, often.gain.high) == pytest.approx((100, 100))
    assert often.precision_gain.value == pytest.approx(0.05)
    assert alone.behind.value == pytest.approx(-100)
    assert often.behind.value == 0


def test_intervals_over_weeks_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for seed in range(200):
        found = paired_over_weeks(rng.normal(1.0, 3.0, 16), seed=seed)
        inside += found.low <= 1.0 <= found.high
    assert 180 <= inside <= 198


def test_what_cannot_be_replayed_is_said(weeks_of: Dataset, small_settings: EnsembleSettings) -> None:
    rules, engine = retraining_rules(FEW_DAYS), LocalEngine()
    long = ReplayPlan(50.0, 3.0, Budget(20.0, 5.0), LIMITS, lambda _drift: False)
    with pytest.raises(InvalidInput, match="History has 1 whole weeks after 50 days"):
        RetrainingReplay(weeks_of, long, rules, small_settings, engine, float)
    free = replace(long, first_days=FEW_DAYS, budget=Budget(20.0, None))
    with pytest.raises(InvalidInput, match="savings cannot be computed"):
        RetrainingReplay(weeks_of, free, rules, small_settings, engine, float)
    early = replace(weeks_of, label=np.where(weeks_of.moment < 20 * DAY, 0, weeks_of.label).astype(np.int8))
    with pytest.raises(InvalidInput, match="learn from 0 frauds"):
        all_weeks(replay_of(early, small_settings))
