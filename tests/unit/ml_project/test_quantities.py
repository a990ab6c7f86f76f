"""One rule for decimals, money, percentages and counts."""

import pytest

from ml_project.metrics import Estimate
from ml_project.policies import NEVER, Thresholds
from ml_project.quantities import (
    difference_interval,
    difference_of_scores,
    difference_text,
    figure_text,
    interval_text,
    money,
    rate,
    threshold_text,
    thresholds_text,
)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("average_precision", 0.59, "0.590"),
        ("test_roc_auc", 0.9512, "0.951"),
        ("psi", 0.00412, "0.004"),
        ("test_recall", 0.85, "85.0 %"),
        ("expected_precision", 1.0, "100 %"),
        ("alert_share", 0.0055, "0.55 %"),
        ("out_of_range", 0.0, "0 %"),
        ("out_of_range", 0.0005, "0.05 %"),
        ("label_coverage", 0.99999, "99.999 %"),
        ("cost_per_day", 11_200.4, "€11,200"),
        ("champion_cost_at_budget_per_day", 57.164, "€57.16"),
        ("alerts_per_day", 45.0, "45.0"),
        ("rows_per_day", 142_000.7, "142,001"),
        ("mature_frauds", 48.0, "48"),
        ("skew_decisions", 500.0, "500"),
        ("skew_unexplained", 0.002, "0.20 %"),
        ("latency_p99_ms", 9.911, "9.91 ms"),
        ("precision", float("nan"), "-"),
    ],
)
def test_a_figure_reads_by_its_name(name: str, value: float, text: str) -> None:
    assert figure_text(name, value, "EUR") == text


def test_a_share_of_few_is_told_as_a_count() -> None:
    assert [rate(0.0, 2), rate(0.5, 12), rate(0.5, 20), rate(0.0)] == ["0 of 2", "6 of 12", "50.0 %", "0 %"]
    assert figure_text("recall", 0.5, "", of=2) == "1 of 2"
    assert interval_text("recall", Estimate(0.5, 0.0, 1.0), of=2) == "1 of 2 [0 %, 100 %]"


def test_amounts_have_their_currency() -> None:
    assert [money(1_200, "CHF"), money(-3.5, "USD"), money(1_200, "")] == ["CHF 1,200", "-$3.50", "1,200"]


def test_differences_have_signs_and_percentages_differ_by_points() -> None:
    assert difference_text("recall", 0.122) == "+12.2 pts"
    assert difference_text("average_precision", -0.0254) == "-0.025"
    assert difference_text("cost_per_day", -120, "EUR") == "-€120"


def test_intervals_say_their_unit_once() -> None:
    found = Estimate(0.85, 0.781, 0.902)
    assert interval_text("recall", found) == "85.0 % [78.1, 90.2]"
    assert interval_text("average_precision", found) == "0.850 [0.781, 0.902]"
    assert difference_interval("savings", Estimate(0.025, -0.01, 0.061)) == "+2.5 pts [-1.0, +6.1]"


def test_a_threshold_that_nothing_reaches_is_called_so() -> None:
    assert thresholds_text(Thresholds(0.3016, NEVER)) == "alert from 0.302, decline never"
    assert [difference_of_scores(value) for value in (0, 6.84e-7, 1e-5, 0.25)] == ["0", "6.8e-7", "1e-5", "0.25"]
    assert threshold_text(1.454e-6) == "1.45e-6"
    assert thresholds_text(Thresholds(0.3016, 0.9)) == "alert from 0.302, decline from 0.900"
