from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ml_project.bundle import Manifest
from ml_project.errors import InvalidInput
from pipelines.monitoring.figures import Figure, MonitorLimits, measure_by_label, watched_figures
from pipelines.monitoring.kept_decisions import UNLABELLED, KeptDecisions
from pipelines.monitoring.report import MonitorReport
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings
from tests.unit.pipelines.monitoring.conftest import DAY, WINDOW

LIMITS = MonitorLimits.load()
Decide = Callable[..., KeptDecisions]


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures}


def test_a_day_like_training_breaches_nothing(decide: Decide, report: Callable[[KeptDecisions], MonitorReport]) -> None:
    quiet = report(decide(seed=5))
    assert quiet.breaches == []
    assert quiet.sentence.startswith("No breach: version 3, 2026-03-01 00:00 to 2026-03-02 00:00 UTC;")
    figures = by_name(quiet.figures)
    assert figures["rows_per_day"].value == 2_000
    assert figures["latency_p99_ms"].value == pytest.approx(9.9, abs=0.02)
    assert figures["alert_share"].judged


def test_at_most_one_false_alarm_in_a_hundred_windows_over_all_figures(decide: Decide, manifest: Manifest) -> None:
    """Drift, the mix of decisions, volume and latency together, as `monitor` judges them, one new day per window."""
    days = [watched_figures(decide(seed=seed), manifest, WINDOW, LIMITS).figures for seed in range(1_000, 1_200)]
    assert all(figure.judged for figure in days[0] if figure.name in ("psi", "alert_share", "latency_p99_ms"))
    assert sum(any(figure.breached for figure in figures) for figures in days) <= 2


@pytest.mark.parametrize("options", [{"drift": {"V14": 0.5}}, {"drift": {"V14": -0.5}}, {"amount_factor": 2.0}])
def test_half_a_standard_deviation_or_doubled_amounts_breach_every_day(
    decide: Decide, manifest: Manifest, options: dict[str, Any]
) -> None:
    name = "Amount" if "amount_factor" in options else "V14"
    for seed in range(20):
        figures = by_name(watched_figures(decide(seed=seed, **options), manifest, WINDOW, LIMITS).figures)
        assert figures[f"psi_{name}"].breached


def test_drift_is_named(decide: Decide, report: Callable[[KeptDecisions], MonitorReport]) -> None:
    found = report(decide(seed=5, drift={"V14": 0.5}))
    assert {"psi_V14", "ks_V14"} <= {figure.metric for figure in found.breaches}
    assert found.sentence.startswith("Breach: version 3")
    assert found.to_dict()["breached"]


def test_more_alerts_than_chance_explains(decide: Decide, manifest: Manifest) -> None:
    wave = by_name(watched_figures(decide(seed=6, fraud_rate=0.1), manifest, WINDOW, LIMITS).figures)
    assert wave["alert_share"].breached
    assert wave["alert_share"].value > wave["alert_share"].high > 0
    half_a_day = Window(DAY, DAY + timedelta(hours=12))
    assert not by_name(watched_figures(decide(seed=6, fraud_rate=0.1), manifest, half_a_day, LIMITS).figures)[
        "alert_share"
    ].judged


def test_few_rows_and_no_rows_are_shown_not_judged(decide: Decide, manifest: Manifest) -> None:
    few = by_name(watched_figures(decide(rows=150, drift={"V14": 3}), manifest, WINDOW, LIMITS).figures)
    assert few["psi_V14"].value > 0.1
    assert few["psi_V14"].verdict == "too few rows"
    nothing = watched_figures(decide(rows=150).take(slice(0)), manifest, WINDOW, LIMITS)
    assert [figure.metric for figure in nothing.figures if figure.breached] == ["rows_per_day"]


def test_slow_answers(decide: Decide, manifest: Manifest) -> None:
    rows = decide()
    rows.latency_ms[:] = 400
    assert by_name(watched_figures(rows, manifest, WINDOW, LIMITS).figures)["latency_p99_ms"].breached
    bulk = KeptDecisions(**{**vars(rows), "single": np.zeros(len(rows), dtype=bool)})
    figures = by_name(watched_figures(bulk, manifest, WINDOW, LIMITS).figures)
    assert "latency_p99_ms" not in figures
    assert figures["chunk_latency_p99_ms"].value == 400


def test_only_what_is_older_than_the_label_delay_is_measured(decide: Decide, settings: PipelineSettings) -> None:
    rows = decide(seed=8, labelled=0.1)
    frauds = int((rows.label == 1).sum())
    young = measure_by_label(rows, WINDOW, DAY + timedelta(days=7), settings, LIMITS.labelled, None)
    assert (young.rows, young.estimates) == (0, {})
    half = measure_by_label(rows, WINDOW, DAY + timedelta(days=7.5), settings, LIMITS.labelled, None)
    assert half.rows == (rows.moment < DAY.timestamp() + 43_200).sum()
    old = measure_by_label(rows, WINDOW, DAY + timedelta(days=9), settings, LIMITS.labelled, None)
    assert (old.rows, old.frauds) == (len(rows), frauds)
    assert old.coverage == (rows.label != UNLABELLED).mean()
    for name in ("average_precision", "recall_at_budget", "cost_per_day", "calibration_error"):
        assert old.estimates[name].low <= old.estimates[name].high
    recall = rows.alert[rows.label == 1].mean()
    assert old.estimates["recall"].value == pytest.approx(recall)


def test_a_ranking_that_has_fallen_apart_is_a_breach(decide: Decide, settings: PipelineSettings) -> None:
    rows = decide(seed=9)
    later = DAY + timedelta(days=30)
    fine = by_name(measure_by_label(rows, WINDOW, later, settings, LIMITS.labelled, 0.8).figures)
    assert not fine["average_precision"].breached
    shuffled = KeptDecisions(**{**vars(rows), "hybrid": np.random.default_rng(0).permutation(rows.hybrid)})
    lost = by_name(measure_by_label(shuffled, WINDOW, later, settings, LIMITS.labelled, 0.8).figures)
    assert lost["average_precision"].breached
    assert lost["average_precision"].low == pytest.approx(0.65)


def test_a_file_of_limits_that_is_none(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        MonitorLimits.load(tmp_path / "none.yaml")
    file = tmp_path / "limits.yaml"
    file.write_text("drift: {psi: -1}\n")
    with pytest.raises(InvalidInput, match=r"drift\.minimum_rows"):
        MonitorLimits.load(file)
