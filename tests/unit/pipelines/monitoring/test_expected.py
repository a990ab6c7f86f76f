from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ml_project.metrics import average_precision, ranking_curve
from ml_project.quantities import interval_text
from pipelines.monitoring.expected import ExpectedQuality, expected_quality
from pipelines.monitoring.figures import ExpectedLimits
from pipelines.monitoring.kept_decisions import UNLABELLED, KeptDecisions
from pipelines.monitoring.page import monitor_page
from pipelines.monitoring.report import MonitorReport
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from tests.unit.pipelines.monitoring.conftest import DAY, END

LIMITS = ExpectedLimits(minimum_rows=500, minimum_frauds=10)
NOW = END + timedelta(days=7)
"""The labels of the first day have come, those of the second have not."""

Decide = Callable[..., KeptDecisions]


@pytest.fixture
def two_days(decide: Decide) -> KeptDecisions:
    """A day with its labels, and one without; probabilities are right: the labels are drawn from them."""
    first, second = decide(rows=12_000, seed=1), decide(rows=4_000, seed=2)
    rng = np.random.default_rng(3)
    label = (rng.random(12_000) < first.probability).astype(np.int8)
    unlabelled = np.full(4_000, UNLABELLED, dtype=np.int8)
    later = replace(second, label=unlabelled, moment=second.moment + 86_400)
    return KeptDecisions.concatenate([replace(first, label=label), later])


WINDOW = Window(DAY, END + timedelta(days=1))


def expected(rows: KeptDecisions, settings: PipelineSettings) -> ExpectedQuality:
    return expected_quality(rows, WINDOW, NOW, settings, LIMITS)


def test_the_later_figure_lies_in_the_interval(two_days: KeptDecisions, settings: PipelineSettings) -> None:
    found = expected(two_days, settings)
    young = two_days.take(two_days.moment >= END.timestamp())
    assert found.rows == len(young) == 4_000
    assert found.trusted
    inside = 0
    for seed in range(10):
        label = (np.random.default_rng(seed).random(4_000) < young.probability).astype(np.int8)
        figure = average_precision(ranking_curve(young.hybrid, label, young.weight, young.amount))
        inside += found.estimates["average_precision"].low <= figure <= found.estimates["average_precision"].high
    assert inside >= 8
    assert found.before.keys() == found.estimates.keys() == {"average_precision", "precision", "recall"}


def test_a_drift_of_the_calibration_is_said(two_days: KeptDecisions, settings: PipelineSettings) -> None:
    wrong = replace(two_days, probability=np.minimum(two_days.probability * 5, 0.999))
    found = expected(wrong, settings)
    assert not found.trusted
    assert found.sentence.startswith("Not reliable: ")
    assert found.ratio is not None
    assert found.ratio.high < 1 / 1.5


def test_without_labels_to_check_by_it_is_said(two_days: KeptDecisions, settings: PipelineSettings) -> None:
    young = two_days.take(two_days.moment >= END.timestamp())
    found = expected(young, settings)
    assert (found.trusted, found.ratio, found.before) == (False, None, {})
    assert found.estimates["recall"].value > 0
    assert "too few labels" in found.sentence


def test_nothing_is_expected_where_all_labels_have_come(two_days: KeptDecisions, settings: PipelineSettings) -> None:
    later = expected_quality(two_days, WINDOW, NOW + timedelta(days=3), settings, LIMITS)
    assert (later.rows, later.estimates) == (0.0, {})


def test_the_random_review_tells_of_frauds_among_approvals(two_days: KeptDecisions, settings: PipelineSettings) -> None:
    """Of the approvals that are frauds only those in the sample are known."""
    approved = ~two_days.alert
    old = two_days.moment < END.timestamp()
    rng = np.random.default_rng(0)
    sampled = approved & (rng.random(len(two_days)) < 0.2)
    hidden_frauds = approved & old & (rng.random(len(two_days)) < 0.05)
    label = np.where(hidden_frauds, 1, two_days.label)
    known = np.where(hidden_frauds & ~sampled, UNLABELLED, label).astype(np.int8)
    rate = np.where(sampled, 0.2, two_days.alert.astype(float))
    told = expected(replace(two_days, label=known, review_rate=rate), settings)
    silent = expected(replace(two_days, label=known, review_rate=two_days.alert.astype(float)), settings)
    assert told.ratio is not None
    assert silent.ratio is not None
    assert told.ratio.value > 1.5 * silent.ratio.value
    assert told.estimates["recall"].value < silent.estimates["recall"].value


def test_report_and_page_show_both(
    report: Callable[..., MonitorReport], two_days: KeptDecisions, settings: PipelineSettings
) -> None:
    found = replace(report(two_days), expected=expected(two_days, settings))
    value = found.expected.estimates["average_precision"]
    assert found.estimates["expected_average_precision"] == value
    assert "expected_average_precision" in {figure.metric for figure in found.figures}
    assert found.to_dict()["expected"]["trusted"]
    html = monitor_page(found, None, "run")
    assert "Before labels arrive" in html
    assert interval_text("average_precision", value) in html
    assert interval_text("average_precision", found.expected.before["average_precision"]) in html
    assert "Before labels arrive" not in monitor_page(report(two_days), None, "run")
