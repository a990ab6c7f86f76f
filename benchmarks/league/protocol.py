"""The authors' protocol (chapter 5 of the handbook): a week of test, trained on days that end a week before it.

Out of the test are the transactions of customers who were known to be defrauded: in the 7 days of training, or in the
delay as it passes, on test day k also those of the first k days after training. That holds for all entries alike,
however many days they train on, so that all are measured on the same rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.league.transactions import League
from ml_project.entity_metrics import EntityDays
from ml_project.expected_quality import Recalibration, design_effects, expected_figures
from ml_project.history import Integers
from ml_project.metrics import (
    Estimate,
    average_precision,
    estimate,
    precision_within,
    ranking_curve,
    recall_within,
    roc_auc,
)

WEEK: Final = 7
DELAY: Final = 7

CHOICE_WEEKS: Final = tuple(date(2018, 7, 4) + timedelta(weeks=number) for number in range(5))
"""First days of the weeks that everything was chosen on; the last ends on 7 August."""

TEST_WEEKS: Final = tuple(date(2018, 8, 8) + timedelta(weeks=number) for number in range(4))
"""First days of the published test weeks."""

_EPOCH: Final = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def training_rows(league: League, first_day: date, days: int) -> Integers:
    """Rows of the days before the delay; their labels are known when the week begins."""
    end = day_number(first_day) - DELAY
    return np.flatnonzero((league.day >= end - days) & (league.day < end))


def test_rows(league: League, first_day: date) -> Integers:
    """Rows of the week, without those of customers who were known to be defrauded."""
    begin, day = day_number(first_day), league.day
    trained = begin - DELAY - WEEK
    frauds = league.ours.label == 1
    rows = []
    for number in range(WEEK):
        # the training days, and of the delay as many days as the test has seen
        known = np.unique(league.customer[frauds & (day >= trained) & (day < trained + WEEK + number)])
        today = np.flatnonzero(day == begin + number)
        rows.append(today[~np.isin(league.customer[today], known)])
    return np.concatenate(rows)


@dataclass(frozen=True)
class Rows:
    """A week's test rows as metrics know them; every row stands for itself."""

    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    amount: NDArray[np.float64]

    @classmethod
    def of(cls, league: League, rows: Integers) -> "Rows":
        """The rows of a league."""
        return cls(league.ours.label[rows], np.ones(len(rows)), league.ours.amount[rows])


@dataclass(frozen=True)
class Figures:
    """An entry in one week."""

    roc_auc: float
    average_precision: Estimate
    card_precision: float


def figures(league: League, rows: Integers, score: NDArray[np.float64], replicates: int) -> Figures:
    """Of the scores (rows,) of a week's test rows."""
    labelled = Rows.of(league, rows)
    curve = ranking_curve(score, labelled.label, labelled.weight, labelled.amount)
    days = EntityDays.of(league.ours.moment[rows], league.customer[rows], score, labelled.label)
    wanted = {"average_precision": average_precision}
    return Figures(
        roc_auc(curve),
        estimate(labelled, score, wanted, replicates)["average_precision"],
        days.card_precision(league.cards_per_day),
    )


def mean(weeks: Sequence[Figures]) -> tuple[float, float, float]:
    """ROC-AUC, average precision and card precision over weeks."""
    found = np.mean([(each.roc_auc, each.average_precision.value, each.card_precision) for each in weeks], axis=0)
    return float(found[0]), float(found[1]), float(found[2])


def expected(
    league: League, first_day: date, score: Callable[[Integers], NDArray[np.float64]], replicates: int
) -> dict[str, dict[str, float]]:
    """What a week's quality was expected to be before its labels came, and what it turned out to be.

    Of all transactions of the week, by a model whose scores are probabilities, checked by the labels of the week
    before, which have all come when this one ends. Precision and recall are those of ``cards_per_day`` alerts a day.
    Chosen on weeks before the test weeks: that customers and terminals are resampled whole.
    """
    begin, day = day_number(first_day), league.day
    before, week = (np.flatnonzero((day >= first) & (day < first + WEEK)) for first in (begin - DELAY, begin))
    known, rows = Rows.of(league, before), Rows.of(league, week)
    probability, alerts = score(week), float(league.cards_per_day * WEEK)
    metrics = {
        "average_precision": average_precision,
        "precision": precision_within(alerts),
        "recall": recall_within(alerts),
    }
    keys = [numbers[before] for numbers in league.ours.entities.values()]
    old = score(before)
    effects = design_effects(old, old, known.label, known.amount, known.weight, metrics, keys)
    checked = Recalibration.of(old, known.label, known.weight, keys, effects)
    found = expected_figures(
        probability, probability, rows.amount, rows.weight, metrics, checked, replicates=min(replicates, 200)
    )
    curve = ranking_curve(probability, rows.label, rows.weight, rows.amount)
    return {name: {**asdict(each), "later": metrics[name](curve)} for name, each in found.items()}
