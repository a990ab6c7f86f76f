"""Prequential validation: learn from what was known at the time, score what follows, move on.

One split says how a model did once; this says how such a model would have done all along, late labels included: block
by block (`measure_block`), or week by week under rules that say when a model is retrained (`RetrainingReplay`).
Source: Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook" (2022),
chapter 5; Gama et al., "On evaluating stream learning algorithms", Machine Learning 90 (2013).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.baseline import Baseline, watched_names
from ml_project.dataset import Dataset
from ml_project.drift import Drift, DriftLimits, compare
from ml_project.engine import LocalEngine
from ml_project.ensemble import Ensemble, EnsembleSettings
from ml_project.errors import InvalidInput
from ml_project.features import FeatureTransform
from ml_project.fitting import score_forward
from ml_project.metrics import (
    Estimate,
    average_precision,
    cost_within,
    estimate,
    precision_within,
    ranking_curve,
    recall_within,
)
from ml_project.operators import SECONDS_PER_DAY
from ml_project.split import MIN_FRAUDS, Fold, forward_folds, with_label_delay
from ml_project.statistics import FeatureStatistics


@dataclass(frozen=True)
class Budget:
    """What reviewing may take: alerts a day, at a price each."""

    alerts_per_day: float
    review_cost: float | None
    """None where nothing is to be said of costs."""


def blocks(data: Dataset, count: int, start: float, label_delay: float) -> list[Fold[Dataset]]:
    """Blocks of equal weight after the first ``start`` of it, each with the past whose labels had come in.

    Parameters
    ----------
    label_delay : float
        Days between a transaction and its label.

    Raises
    ------
    InvalidInput
        When a block, or what could be learnt from before it, has too few frauds.
    """
    return [with_label_delay(fold, label_delay * SECONDS_PER_DAY) for fold in forward_folds(data, count, start)]


def measure_block(
    fold: Fold[Dataset], settings: EnsembleSettings, engine: LocalEngine, budget: Budget, replicates: int
) -> dict[str, Estimate]:
    """Figures of a block whose highest scores are reviewed within the budget, by an ensemble fitted on its past."""
    scored = score_forward(fold, settings, engine)
    alerts = budget.alerts_per_day * scored.days
    figures = {
        "average_precision": average_precision,
        "precision_at_budget": precision_within(alerts),
        "recall_at_budget": recall_within(alerts),
    }
    if budget.review_cost is not None:
        figures["cost_per_day"] = cost_within(alerts, budget.review_cost, scored.days)
    return estimate(scored, scored.hybrid, figures, replicates, engine.seed)


_DAYS_OF_WEEK: Final = 7
WEEK: Final = _DAYS_OF_WEEK * SECONDS_PER_DAY

_LEAST_WEEKS: Final = 3
"""Fewer say nothing of how much weeks differ."""


@dataclass(frozen=True)
class RetrainingRule:
    """When a model is retrained, and on which days.

    Attributes
    ----------
    key, when : str
        For files, and for people.
    every : int or None
        Weeks from one training to the next; 0: never again; None: when the week before drifted from the training rows.
    days : float or None
        Latest days that it learns from (a sliding window); None: all of them (a growing one).
    """

    key: str
    when: str
    every: int | None
    days: float | None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.when}, {'all days' if self.days is None else f'last {self.days:g} days'}"


def retraining_rules(days: float) -> tuple[RetrainingRule, ...]:
    """Never; weekly, every four weeks and on drift, each with a sliding window of so many days and a growing one."""
    times = (("weekly", "weekly", 1), ("monthly", "every 4 weeks", 4), ("drift", "on drift", None))
    return (
        RetrainingRule("never", "never", 0, days),
        *(RetrainingRule(f"{key}_sliding", when, every, days) for key, when, every in times),
        *(RetrainingRule(f"{key}_growing", when, every, None) for key, when, every in times),
    )


@dataclass(frozen=True)
class RuleWeek:
    """What a rule comes to in one week.

    Attributes
    ----------
    saved : float
        Amounts of the frauds among each day's reviews, less what the reviews cost.
    average_precision : float
        Of the week's transactions.
    learnt_from, learnt_until : float
        Moments between which the live model's training rows lie.
    trained : bool
        Whether that model was trained when this week began.
    seconds : float
        Of the processor, for that training; 0 where there was none.
    """

    saved: float
    average_precision: float
    learnt_from: float
    learnt_until: float
    trained: bool
    seconds: float

    @property
    def span(self) -> tuple[float, float]:
        """Moments between which the training rows lie."""
        return self.learnt_from, self.learnt_until


@dataclass(frozen=True)
class ReplayPlan:
    """How history is replayed.

    Attributes
    ----------
    first_days : float
        Days from the start that the first model learns from.
    label_delay : float
        Days between a transaction and its label.
    budget : Budget
        Reviews a day, and the price of one.
    limits : DriftLimits
        Of `drift.compare`.
    beyond : callable
        Whether a figure of a feature's or the score's drift is beyond its limit.
    """

    first_days: float
    label_delay: float
    budget: Budget
    limits: DriftLimits
    beyond: Callable[[Drift], bool]


@dataclass
class _Model:
    """A fitted model with the rows that it learnt from, and what their training took."""

    rows: Dataset
    ensemble: Ensemble
    transform: FeatureTransform
    seconds: float

    @cached_property
    def looks(self) -> tuple[Baseline, FeatureStatistics]:
        """What drift is measured against."""
        contract, features = self.rows.contract, self.transform(self.rows.raw)
        hybrid = self.ensemble.hybrid(features)
        return (
            Baseline.fit(contract, self.rows.raw, features, hybrid, self.rows.weight),
            FeatureStatistics.fit(contract.feature_names, features, self.rows.weight),
        )


class RetrainingReplay:
    """Weeks of history in order, under rules by which models are retrained; what rules share is fitted once.

    Parameters
    ----------
    data : Dataset
    plan : ReplayPlan
    rules : sequence of RetrainingRule
    settings, engine
        Of every model.
    clock : callable
        Seconds of the processor used so far.

    Raises
    ------
    InvalidInput
        Without a price of a review, or when history is too short.
    """

    def __init__(
        self,
        data: Dataset,
        plan: ReplayPlan,
        rules: Sequence[RetrainingRule],
        settings: EnsembleSettings,
        engine: LocalEngine,
        clock: Callable[[], float],
    ) -> None:
        if plan.budget.review_cost is None:
            raise InvalidInput("Without amounts, savings cannot be computed.", "Give the contract an amount.")
        self._data, self._plan, self._rules = data, plan, rules
        self._settings, self._engine, self._clock = settings, engine, clock
        self._review_cost = plan.budget.review_cost
        self._first = math.floor(data.first_moment / SECONDS_PER_DAY) * SECONDS_PER_DAY
        self._begin = self._first + (plan.first_days + plan.label_delay) * SECONDS_PER_DAY
        self._models: dict[tuple[float, float], _Model] = {}
        if self.weeks < _LEAST_WEEKS:
            raise InvalidInput(
                f"History has {max(self.weeks, 0)} whole weeks after {plan.first_days:g} days to learn from and "
                f"{plan.label_delay:g} days of label delay; {_LEAST_WEEKS} are needed.",
                "Provide more history, or start with fewer days.",
            )

    @property
    def weeks(self) -> int:
        """Whole weeks that can be replayed; the last day counts as whole."""
        end = (math.floor(self._data.last_moment / SECONDS_PER_DAY) + 1) * SECONDS_PER_DAY
        return math.floor((end - self._begin) / WEEK)

    def begins(self, week: int) -> float:
        """The moment at which a week begins."""
        return self._begin + week * WEEK

    def week(self, number: int, before: Mapping[str, RuleWeek]) -> dict[str, RuleWeek]:
        """What each rule comes to in a week, by its key.

        Parameters
        ----------
        before : mapping
            The same of the week before; empty for the first one.
        """
        begin = self.begins(number)
        rows, known = self._between(begin, begin + WEEK), begin - self._plan.label_delay * SECONDS_PER_DAY
        scored: dict[tuple[float, float], RuleWeek] = {}
        found = {}
        for rule in self._rules:
            due = not before or self._due(rule, number, before[rule.key])
            earliest = self._first if rule.days is None else max(self._first, known - rule.days * SECONDS_PER_DAY)
            span = (earliest, known) if due else before[rule.key].span
            if span not in scored:
                scored[span] = self._figures(rows, span)
            seconds = self._model(span).seconds if due else 0.0
            found[rule.key] = replace(scored[span], trained=due, seconds=seconds)
        needed = {each.span for each in found.values()}
        self._models = {span: model for span, model in self._models.items() if span in needed}
        return found

    def _due(self, rule: RetrainingRule, number: int, live: RuleWeek) -> bool:
        if rule.every is not None:
            return rule.every > 0 and number % rule.every == 0
        begin = self.begins(number)
        model, rows = self._model(live.span), self._between(begin - WEEK, begin)
        features, (baseline, statistics) = model.transform(rows.raw), model.looks
        contract, hybrid = rows.contract, model.ensemble.hybrid(features)
        significance = self._plan.limits.significance(len(watched_names(contract)))
        drifts = compare(contract, baseline, statistics, rows.raw, features, hybrid, rows.weight, significance)
        return any(map(self._plan.beyond, drifts))

    def _figures(self, rows: Dataset, span: tuple[float, float]) -> RuleWeek:
        model = self._model(span)
        score = model.ensemble.hybrid(model.transform(rows.raw))
        day = np.floor(rows.moment / SECONDS_PER_DAY)
        within = cost_within(self._plan.budget.alerts_per_day, self._review_cost, 1.0)
        saved = 0.0
        for each in np.unique(day):
            today = day == each
            curve = ranking_curve(score[today], rows.label[today], rows.weight[today], rows.amount[today])
            saved += curve.fraud_amount - within(curve)
        ranked = ranking_curve(score, rows.label, rows.weight, rows.amount)
        return RuleWeek(saved, average_precision(ranked), *span, trained=False, seconds=0.0)

    def _model(self, span: tuple[float, float]) -> _Model:
        if span not in self._models:
            past = self._between(*span)
            if past.frauds < MIN_FRAUDS:
                raise InvalidInput(
                    f"A model would learn from {past.frauds} frauds; at least {MIN_FRAUDS} are needed.",
                    "Start with more days, or provide more rows.",
                )
            begun = self._clock()
            ensemble, transform = self._engine.fit(past, self._settings)
            self._models[span] = _Model(past, ensemble, transform, self._clock() - begun)
        return self._models[span]

    def _between(self, since: float, until: float) -> Dataset:
        begin, end = np.searchsorted(self._data.moment, [since, until], side="left").tolist()
        return self._data.take(slice(begin, end))


@dataclass(frozen=True)
class RuleOutcome:
    """A rule over all weeks.

    Attributes
    ----------
    saved : float
        Money saved a day.
    average_precision : float
        Mean of the weeks.
    trainings : int
        The first one included.
    seconds : float
        Of the processor, for all trainings.
    gain, precision_gain : Estimate
        Money saved a day and average precision, less those of the rule that is compared with, over the same weeks.
    behind : Estimate
        Money saved a day, less that of the rule that saves most.
    """

    rule: RetrainingRule
    saved: float
    average_precision: float
    trainings: int
    seconds: float
    gain: Estimate
    precision_gain: Estimate
    behind: Estimate


def rule_outcomes(
    rules: Sequence[RetrainingRule], weeks: Sequence[Mapping[str, RuleWeek]], against: str, replicates: int = 1000
) -> list[RuleOutcome]:
    """Each rule over all weeks, beside one of them by its key."""
    saved = {rule.key: np.array([week[rule.key].saved for week in weeks]) / _DAYS_OF_WEEK for rule in rules}
    precision = {rule.key: np.array([week[rule.key].average_precision for week in weeks]) for rule in rules}
    best = max(saved, key=lambda key: float(saved[key].mean()))
    return [
        RuleOutcome(
            rule,
            float(saved[rule.key].mean()),
            float(precision[rule.key].mean()),
            sum(week[rule.key].trained for week in weeks),
            sum(week[rule.key].seconds for week in weeks),
            paired_over_weeks(saved[rule.key] - saved[against], replicates),
            paired_over_weeks(precision[rule.key] - precision[against], replicates),
            paired_over_weeks(saved[rule.key] - saved[best], replicates),
        )
        for rule in rules
    ]


def paired_over_weeks(difference: NDArray[np.float64], replicates: int = 1000, seed: int = 0) -> Estimate:
    """Mean of paired differences (w,) with its 95 % interval: whole weeks are drawn again, as frauds come in runs.

    A bootstrap of few units is too narrow by the square root of (w - 1) / w, which is made up for.
    """
    rng, count = np.random.default_rng(seed), len(difference)
    draws = difference[rng.integers(0, count, (replicates, count))].mean(axis=1)
    low, high = np.quantile(draws - difference.mean(), [0.025, 0.975]) * math.sqrt(count / (count - 1))
    mean = float(difference.mean())
    return Estimate(mean, mean + float(low), mean + float(high))
